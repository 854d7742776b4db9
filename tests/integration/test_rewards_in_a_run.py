"""Own problems and an own reward through a whole mesh: generator, verifier, replay buffer and learner."""

import asyncio
import json
from pathlib import Path

import pytest

from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.waiting import wait_until
from tests.integration.live_mesh import SECONDS, live_mesh, live_settings

CODE = """\
def longest(problem, responses, tokens, verdicts):
    assert problem.isdigit() and len(responses) == len(tokens) == len(verdicts)
    return [float(count == max(tokens)) for count in tokens]

def broken(response):
    return {}["no such key"]
"""


def settings_of(folder: Path, function: str, **verifier: object) -> RunSettings:
    settings = live_settings(folder, steps=3)
    problems = [{"question": f"{n}", "solution": f"so it is #### {n}"} for n in range(64)]
    (folder / "mine.json").write_text(json.dumps(problems, indent=1), encoding="utf-8")
    (folder / "mine.py").write_text(CODE, encoding="utf-8")
    values = settings.model_dump(mode="json")
    values["prompts"]["file"] = str(folder / "mine.json")
    values["verifier"] |= {"reward": f"{folder / 'mine.py'}:{function}"} | verifier
    return RunSettings.model_validate(values)


async def test_a_run_trains_on_own_problems_with_an_own_reward_and_tells_its_terms_apart(tmp_path: Path) -> None:
    settings, never = settings_of(tmp_path, "longest"), asyncio.Event()
    async with live_mesh(settings) as mesh:
        status = await mesh.until_step(3)
        metrics = settings.run_directory / "metrics.jsonl"
        async with asyncio.timeout(SECONDS):
            while not metrics.is_file() or metrics.read_bytes().count(b"\n") < 3:
                await wait_until(never, 0.1)  # written once the version is published
    assert status.groups.filtered == status.groups.failed == 0
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        assert row["reward"] == pytest.approx(row["reward_correctness"] + row["reward_longest"])
        assert 0 < row["reward_longest"] <= 1


async def test_a_reward_that_raises_is_told_with_its_line_as_why_groups_came_to_nothing(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with live_mesh(settings_of(tmp_path, "broken", reward_alone=True)) as mesh:
        async with asyncio.timeout(SECONDS):
            while not (reasons := dict((await mesh.status()).end_reasons)):
                await wait_until(never, 0.1)
    (reason,) = reasons
    assert "verifier error: N of N responses ungraded after N attempts (reward broken: mine.py:N: KeyError)" in reason
