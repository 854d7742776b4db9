"""A run that nobody looks at goes on, and one that comes to nothing ends: whole meshes, at an IPv6 address."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from areal_mesh.client import MeshClient
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity
from tests.e2e.whole_mesh import COMMAND, assert_sums_hold, read_json, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
UNREAD = "[::1]:7458"
FRUITLESS = "127.0.0.1:7459"
MODEL = Path(".cache/models/arithmetic")


async def reached(address: str, step: int) -> None:
    """Waits until the run at an address has taken a step; its controller may still have to come."""
    async with asyncio.timeout(240):
        async with open_channel(address, Identity("client", "test")) as channel:
            await channel.channel_ready()
        async with MeshClient.connect(address) as mesh:
            async for status in mesh.watch(0.2):
                if status.step >= step:
                    return
    raise AssertionError("the controller ended")


def test_a_run_outlives_the_reader_of_its_output_and_drains_with_its_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    overrides = ("name=unread", f"controller.listen={UNREAD}", "learner.listen=[::1]:0", "generator.listen=[::1]:0")
    with started("trial-short", tmp_path, *overrides) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline()
        launcher.stdout.close()
        asyncio.run(reached(UNREAD, 1))
        for _ in range(2):
            launcher.send_signal(signal.SIGHUP)
        assert launcher.wait(timeout=120) == 128 + signal.SIGHUP
    with started("trial-short", tmp_path, *overrides) as launcher:
        output, _ = launcher.communicate(timeout=400)
        assert launcher.returncode == 0, output
    summary = read_json(tmp_path / "unread" / "summary.json")
    assert summary["steps"] == 6
    assert set(summary["checksums"]) == {"agreed"}
    assert_sums_hold(summary)


def test_a_run_whose_prompts_are_all_filtered_ends_and_says_why_in_its_last_line(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    subprocess.run([str(COMMAND), "prepare", "trial-short"], check=True, timeout=300)
    problem = "Compute 1+1."
    # As long as the limit allows: the chat template's own tokens are then too many, which no look at the files counts.
    tokens = len(Tokenizer.from_file(str(MODEL / "tokenizer.json")).encode(problem, add_special_tokens=False).ids)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "p", "problem": problem, "answer": "2"}))
    chosen = ("model.recipe=none", f"prompts.file={prompts}", "prompts.count=0", f"prompts.max_prompt_tokens={tokens}")
    began = time.monotonic()
    with started("trial-short", tmp_path, "name=vain", f"controller.listen={FRUITLESS}", *chosen) as launcher:
        output, _ = launcher.communicate(timeout=400)
    print(f"ended after {time.monotonic() - began:.0f} s")
    assert launcher.returncode == 78, output
    last_line = output.splitlines()[-1]
    assert last_line.startswith("areal-mesh controller: cannot go on: ")
    assert "groups in a row ended filtered or failed, and none was stored; " in last_line
    assert ": prompt too long: " in last_line
    summary = read_json(tmp_path / "vain" / "summary.json")
    assert summary["finished"] is False
    assert sum(summary["end_reasons"].values()) == summary["groups"]["filtered"] >= 256
