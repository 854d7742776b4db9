"""The examples run: what of each is cheap, in processes of their own, from the folder that a user is in."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.tools import command, run_tool

ROOT = Path(__file__).parents[2]
SECONDS = 20.0


@pytest.fixture(autouse=True)
def _in_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
async def judge() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "examples/http_judge/judge.py", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        url = (await process.stdout.readline()).decode().strip()
    yield url
    process.kill()
    await process.wait()


async def test_own_data_and_rewards_hold_and_are_called() -> None:
    code, output, errors = await command("config", "check", "examples/own_data/run.toml")
    assert code == 0, errors
    assert "256 problems were read; `question` is the problem, problems are numbered" in output
    assert "reward boxed: 0.5 for the first prompt's answer in a box, 0 for" in output
    assert "reward shortest: 1 for the first prompt's answer in a box, 0 for" in output


async def test_the_judge_answers_a_group_over_http(judge: str) -> None:
    at = ("--set", f"verifier.reward.0.url={judge}")
    code, output, errors = await command("config", "check", "examples/http_judge/run.toml", *at)
    assert code == 0, errors
    assert "reward judge: 0 for the first prompt's answer in a box, 0 for" in output


async def test_a_judge_that_is_not_there_is_named_before_the_run_begins() -> None:
    nowhere = "verifier.reward.0.url=http://127.0.0.1:9/judge"
    began = time.monotonic()
    code, output, _ = await command("config", "check", "examples/http_judge/run.toml", "--set", nowhere)
    assert time.monotonic() - began < SECONDS
    assert code == 78
    assert "verifier.reward: reward judge: " in output
    assert "http://127.0.0.1:9/judge cannot be reached" in output


async def test_the_client_follows_a_run_steers_and_plots_it(address: str, tmp_path: Path) -> None:
    plot = tmp_path / "rewards.png"
    script = "examples/client/drive_and_plot.py"
    output = await run_tool(sys.executable, script, "--controller", address, "--plot", str(plot), "--steps", "5")
    assert [f"step {step}: reward {step:+.2f}" for step in range(7, 12)] == output.splitlines()[:5]
    assert output.endswith(f"{plot}: 5 steps\n")
    assert plot.read_bytes().startswith(b"\x89PNG")
