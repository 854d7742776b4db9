"""What adapters need of packages and of the model's files is told before anything starts."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from areal_mesh.cli.gaps import gaps
from areal_mesh.cli.lora_check import linear_layers, lora_faults
from areal_mesh.cli.model_check import model_faults
from areal_mesh.cli.preflight import check_role
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import RunSettings
from tests.unit.learner_support import settings_for, write_model

LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def aimed(model: Path, targets: str) -> RunSettings:
    return settings_for(model, f"learner.lora.target_modules={targets}", f"directory={model.parent}")


def without_peft(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    find = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> ModuleSpec | None:
        if name == "peft":
            return ModuleSpec(name, None) if there else None
        return find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", found)


def test_the_matrices_of_the_decoder_layers_are_read_from_the_files(model: Path) -> None:
    assert {name.rpartition(".")[2] for name in linear_layers(model)} == LAYERS
    assert len(linear_layers(model)) == 2 * len(LAYERS)


def test_a_layer_that_the_model_lacks_is_told_with_those_that_it_has(model: Path) -> None:
    settings = aimed(model, '["self_attn.q_proj", "c_attn"]')
    (fault,) = lora_faults(settings)
    assert fault.startswith(
        f"learner.lora.target_modules: the model in {model} has no linear layer 'c_attn'; name some "
    )
    assert all(name in fault for name in LAYERS)
    assert fault in list(model_faults(settings))


@pytest.mark.parametrize("targets", ['["q_proj", "mlp.up_proj"]', "none"])
def test_layers_that_are_there_are_no_fault(model: Path, targets: str) -> None:
    assert list(lora_faults(aimed(model, targets))) == []


def test_files_that_cannot_be_read_are_left_to_others(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0[1]..")
    assert list(lora_faults(aimed(model, '["c_attn"]'))) == []
    (model / "model.safetensors").unlink()
    assert list(lora_faults(aimed(model, '["c_attn"]'))) == []


def test_the_learner_does_not_start_without_peft_or_with_a_layer_that_is_not_there(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_peft(monkeypatch, there=False)
    settings = settings_for(model, "learner.lora.rank=4", f"directory={model.parent}")
    says = (
        r"^learner\.lora needs peft, which is not installed; install areal-mesh\[learner\], or leave learner\.lora out"
    )
    with pytest.raises(StartupError, match=says):
        check_role(settings, "learner", "trial")
    assert any(line.startswith("learner.lora needs peft") for line in gaps(settings))
    assert not any("peft" in line for line in gaps(settings_for(model, f"directory={model.parent}")))
    without_peft(monkeypatch, there=True)
    with pytest.raises(StartupError, match="has no linear layer 'c_attn'"):
        check_role(aimed(model, '["c_attn"]'), "learner", "trial")
