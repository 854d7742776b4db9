"""What an engine's processes find in their environment."""

from pathlib import Path

import pytest

from areal_mesh.generator.engine_settings import EngineSettings


def test_nothing_is_compiled_on_a_cpu_and_graphs_are_on_a_gpu() -> None:
    assert EngineSettings(Path("model")).environment()["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in EngineSettings(Path("model"), device="cuda").environment()


def test_who_wants_to_hear_more_of_torch_and_vllm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"TORCH_CPP_LOG_LEVEL": "INFO", "TORCH_LOGS": "+dynamo", "VLLM_LOGGING_LEVEL": "DEBUG"}
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    environment = EngineSettings(Path("model")).environment()
    assert {name: environment[name] for name in wanted} == wanted
