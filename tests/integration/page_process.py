"""`areal-mesh view` as a process, and a run for it to show."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from areal_mesh.runtime.settings import RunSettings
from tests.unit.rollout_logs import Answer, begin_run, group_of, open_log, store, train_on

SECONDS = 30.0


@asynccontextmanager
async def served(*arguments: str) -> AsyncIterator[str]:
    """The address at which the page is served."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "areal_mesh.cli", "view", "--port", "0", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line
        yield found.group()
        process.terminate()
        async with asyncio.timeout(SECONDS):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


def write_metrics(settings: RunSettings, steps: int, reward: float = 0.0) -> None:
    """Figures of so many steps, half of them in each stage; and the ledger, so that it is a run."""
    rows = [
        {
            "step": step,
            "stage": int(2 * step > steps),
            "stage_name": settings.stages[int(2 * step > steps)].name,
            "reward": reward + step / 2,
            "response_length": 20.0 + step,
            "truncated": 1 / step,
            "mismatch_kl": 1e-8 if step % 2 else None,
            "seconds_backward": 1.0,
            "seconds_total": 1.5,
            "idle_seconds_rollouts": 0.5,
            "staleness": {"0": 4},
            **(evaluation(step) if step % 3 == 0 else {}),
        }
        for step in range(1, steps + 1)
    ]
    (settings.run_directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (settings.run_directory / "ledger.db").touch()


def evaluation(step: int) -> dict[str, float]:
    """Figures of the version before a step, on two suites."""
    figures = {"policy_version": step - 1, "pass_at_1": step / 10, "response_length": 30.0 + step}
    return {f"evaluation/{suite}/{name}": value for suite in ("easy", "hard") for name, value in figures.items()}


async def write_run(folder: Path, answers: Sequence[Answer], name: str = "looked-at") -> RunSettings:
    """A run of six steps, whose log has a group of these answers for each, the first step's in the first place."""
    settings = begin_run(folder / name, name)
    write_metrics(settings, 6)
    buffer = open_log(settings)
    for step in range(1, 7):
        problem = f"Compute $2^{step}$"
        source = "powers" if step % 2 else "sums"
        await store(buffer, group_of(settings, step, problem, [str(2**step)], answers, source))
        await train_on(buffer, step, 1)
    buffer.close()
    return settings
