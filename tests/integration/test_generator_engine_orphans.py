"""A generator that ends, however it ends, takes the engine's processes along, and only then."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from areal_mesh.generator import engine_process
from areal_mesh.generator.engine_process import EngineProcess
from areal_mesh.runtime.settings import RunSettings
from tests.integration.engine_run import engine_run

PATIENCE_SECONDS = 20.0
BOUND_CHILD = """
import os, sys
from areal_mesh.runtime.orphans import die_with_parent
die_with_parent(int(sys.argv[1]))
print("bound", flush=True)
for line in sys.stdin:
    print(line.strip(), flush=True)
"""
GENERATOR = """
import asyncio, sys
from areal_mesh.generator.engine import Engine
from areal_mesh.runtime.settings import load_settings

async def main():
    engine = await Engine.start(load_settings(sys.argv[1]), [2], initial_version=0)
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Client:
    """Stands for vLLM's client, with one process behind it."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self.child = child

    def shutdown(self, timeout: float) -> None:
        """Forgets to end the process."""


def ask(child: "subprocess.Popen[str]") -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("still here?\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def start_child(settings: RunSettings) -> tuple[Any, Any]:
    child = subprocess.Popen(
        [sys.executable, "-c", BOUND_CHILD, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "bound\n"
    return Client(child), object()


async def test_what_the_engine_started_lives_as_long_as_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_process, "_build", start_child)
    process = await EngineProcess.start(engine_run(tmp_path))
    child = process.client.child
    # The thread that started it is done with its work, and stays: the system would take its end for the parent's.
    assert [thread for thread in threading.enumerate() if thread.name == "engine-start"]
    assert ask(child) == "still here?"
    process.shutdown()
    assert await asyncio.to_thread(child.wait, PATIENCE_SECONDS) == -9


async def test_a_start_that_fails_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: RunSettings) -> tuple[Any, Any]:
        raise OSError("no memory")

    monkeypatch.setattr(engine_process, "_build", fail)
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no memory"):
        await EngineProcess.start(engine_run(tmp_path))
    for thread in set(threading.enumerate()) - before:
        if thread.name == "engine-start":
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


def test_a_process_whose_parent_went_before_it_asked_ends_at_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", BOUND_CHILD, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = child.communicate(timeout=PATIENCE_SECONDS)
    assert (child.returncode, output) == (-9, b"")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_generator_killed_outright_leaves_no_engine(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs vLLM: install the generator and cpu extras")
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=48,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=2,
    )
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    settings = tmp_path / "settings.json"
    settings.write_text(engine_run(tmp_path).model_dump_json())
    generator = subprocess.Popen([sys.executable, "-c", GENERATOR, str(settings)], stdout=subprocess.PIPE, text=True)
    try:
        assert generator.stdout is not None
        assert "up\n" in generator.stdout, "vLLM has lines of its own before it"
        family = psutil.Process(generator.pid).children(recursive=True)
        assert family, "the engine runs in a process of its own"
    finally:
        generator.kill()
        generator.wait(PATIENCE_SECONDS)
    _, left = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    for process in left:
        process.kill()
    assert not left
