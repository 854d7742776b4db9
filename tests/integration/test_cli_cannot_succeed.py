"""A run that cannot succeed ends before anything starts: exit code 78, the key and what would do as the last line."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from areal_mesh.runtime.exits import EXIT_CANNOT_START
from tests.unit.tiny_model import write_prompts, write_tiny_model

PATIENCE_SECONDS = 60.0
CASES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "NaN in a weight": (
        lambda folder: [f"model.folder={write_tiny_model(folder / 'broken', nan=True)}"],
        "the weight lm_head.weight holds NaN or infinity",
    ),
    "more tokens than positions": (
        lambda _: ["stages.1.max_response_tokens=1000"],
        "stages.1.max_response_tokens = 1000: with prompts.max_prompt_tokens = 64 that is 1,064 tokens",
    ),
    "an end token outside the vocabulary": (
        lambda _: ["model.end_token_ids=[99]"],
        "the end token 99 is outside the model's vocabulary of",
    ),
    "a seed too large": (lambda _: ["seed=99999999999"], "seed: Input should be less than 4294967296"),
    "an interface that is not here": (
        lambda _: ["weights.transport.interface=nope"],
        "weights.transport.interface = nope: this machine",
    ),
    "prompts all too long": (
        lambda folder: [f"prompts.file={write_prompts(folder / 'long.jsonl', words=90)}"],
        "prompts.max_prompt_tokens = 64: the shortest of ",
    ),
    "no chat template": (
        lambda folder: [f"model.folder={write_tiny_model(folder / 'plain', template='')}"],
        'prompts.template = "chat": the tokenizer in',
    ),
    "an address for nobody": (
        lambda _: ["plaintext_beyond_loopback=true", "replay.listen=0.0.0.0:0"],
        "replay.listen = 0.0.0.0:0: every interface is no address",
    ),
}


async def command(*arguments: str) -> tuple[int, list[str]]:
    """Runs `areal-mesh`; returns exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "areal_mesh.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={key: value for key, value in os.environ.items() if key != "GLOO_SOCKET_IFNAME"},
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode().splitlines()


@pytest.mark.parametrize("case", CASES)
async def test_a_run_that_cannot_succeed_says_why_before_anything_starts(tmp_path: Path, case: str) -> None:
    faulty, words = CASES[case]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = f"controller.listen=127.0.0.1:{probe.getsockname()[1]}"
    model, prompts = write_tiny_model(tmp_path / "model"), write_prompts(tmp_path / "prompts.jsonl")
    chosen = [f"model.folder={model}", f"prompts.file={prompts}", "model.recipe=none", f"directory={tmp_path / 'runs'}"]
    overrides = [word for pair in (*chosen, listen, *faulty(tmp_path)) for word in ("--set", pair)]
    began = time.monotonic()
    code, lines = await command("up", "trial-short", *overrides)
    assert code == EXIT_CANNOT_START
    assert words in lines[-1], lines
    assert lines[-1].startswith("areal-mesh: trial-short: ")
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert not (tmp_path / "runs").exists()
    if "address" in case or "interface" in case:
        return  # the machine's, where the run is started
    code, lines = await command("config", "check", "trial-short", *overrides)
    assert code == EXIT_CANNOT_START
    assert any(words in line for line in lines), lines


async def test_a_learner_started_by_itself_refuses_weights_that_are_not_finite(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: install the learner extra")
    from transformers import AutoModelForCausalLM

    from tests.unit.learner_support import write_model

    folder = write_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight[3] = float("nan")
    model.save_pretrained(folder)
    overrides = [f"model.folder={folder}", "model.recipe=none", f"directory={tmp_path / 'runs'}"]
    chosen = [word for pair in overrides for word in ("--set", pair)]
    code, lines = await command("serve", "learner", "--config", "trial", "--controller", "127.0.0.1:1", *chosen)
    assert code == EXIT_CANNOT_START
    assert lines[-1].startswith(
        f"areal-mesh learner-0: cannot start: model.folder = {folder}: the weight model.norm.weight "
    )
