"""Kill anything: each service in turn and all at once, at random moments of a real run; its weights stay a function of
the log.

`make test-recovery` kills each service twenty times; AREAL_MESH_TEST_RECOVERY gives another number. The figures that it
prints are times from a kill to progress.
"""

import asyncio
import os
import random
import statistics
import time
from collections import defaultdict
from pathlib import Path

import pytest

from areal_mesh.client import RunStatus
from tests.chaos.recovery import LaunchedRun, check_books, launched, life_of, replay_equals
from tests.e2e.whole_mesh import ROLES, read_json

KILLS = int(os.environ.get("AREAL_MESH_TEST_RECOVERY", "0"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600 + 400 * KILLS),
    pytest.mark.skipif(not KILLS, reason="recovery: half an hour, run by `make test-recovery`"),
]
ALL = "everything"
BATCH_GROUPS = 4
FIRST_STAGE_STEPS = 12
CHECKPOINT_EVERY = 5
MOMENT_SECONDS = 5.0
OVERRIDES = (
    f"stages.0.max_steps={FIRST_STAGE_STEPS}",
    "stages.1.max_steps=100000",
    "replay.keep_released=true",
    "replay.segment_bytes=1048576",
    f"learner.checkpoint_every={CHECKPOINT_EVERY}",
    "controller.lease_seconds=5",
)


def moment(run: LaunchedRun, role: str, chance: random.Random, turn: int) -> str:
    """Waits for the moment of a kill, and says which it is: of a learner every third in the middle of a checkpoint."""
    if role == "learner" and turn % 3 == 0:
        deadline = time.monotonic() + MOMENT_SECONDS
        while time.monotonic() < deadline:
            if any((run.folder / "checkpoints").glob(".version-*.partial")):
                return "in the middle of a checkpoint"
    time.sleep(chance.random())
    return "at random"


def everybody_serves(status: RunStatus) -> bool:
    """Whether every role does; the controller, which is none of its members, answers."""
    return all(life_of(status, role)[1] for role in ROLES if role != "controller")


async def kill_and_wait(run: LaunchedRun, role: str, chance: random.Random, turn: int) -> tuple[str, float, float]:
    """One kill: its moment, and the seconds until the killed serves again and until the next step is committed."""
    # Who was killed before, and who registered anew with a controller that was, is back.
    await run.until("everybody serving", everybody_serves)
    before = await run.status()
    assert before is not None
    when = moment(run, role, chance, turn)
    killed = time.monotonic()
    if role == ALL:
        run.kill_everything()
        run.start()
        await run.until("serving again", everybody_serves)
    else:
        starts = life_of(before, role)[0]
        run.kill(role)
        # The controller is none of its members: it serves once it answers.
        answers = role == "controller"
        await run.until(f"{role} serving", lambda status: answers or life_of(status, role) == (starts + 1, True))
    serving = time.monotonic() - killed
    at = await run.status()
    assert at is not None
    await run.until("a step after it", lambda status: status.step > max(before.step, at.step))
    return when, serving, time.monotonic() - killed


@pytest.mark.parametrize("max_staleness", [0, 2])
def test_weights_are_a_function_of_the_log_whatever_is_killed(tmp_path: Path, max_staleness: int) -> None:
    asyncio.run(killed_run(tmp_path, max_staleness))
    folder = tmp_path / "killed"
    steps = check_books(folder, BATCH_GROUPS, max_staleness)
    assert steps > FIRST_STAGE_STEPS, "over a change of stage"
    print(f"max_staleness {max_staleness}: {steps} steps; {replay_equals(folder)}")


async def killed_run(directory: Path, max_staleness: int) -> None:
    chance = random.Random(max_staleness)
    seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    moments: dict[str, int] = defaultdict(int)
    kills = [(role, turn) for turn in range(KILLS) for role in (*ROLES, ALL)]
    overrides = (*OVERRIDES, f"algorithm.max_staleness={max_staleness}")
    with launched(directory, "killed", 7471 + max_staleness, *overrides) as run:
        await run.until("the first steps", lambda status: status.step >= 2)
        for role, turn in kills:
            when, serving, step = await kill_and_wait(run, role, chance, turn)
            seconds[role].append((serving, step))
            moments[f"{role} {when}"] += 1
        # The last checkpoint is written when the learner drains.
        assert await run.stop() == 0, run.last_lines()
    print(f"max_staleness {max_staleness}: killed {dict(moments)}")
    for role, pairs in seconds.items():
        served, stepped = zip(*pairs, strict=True)
        print(
            f"figure: recovery_{role}_serving_seconds {statistics.median(served):.1f} (longest {max(served):.1f}), "
            f"next step {statistics.median(stepped):.1f} (longest {max(stepped):.1f})"
        )


def test_a_learner_killed_after_20_steps_without_a_checkpoint_generates_nothing_again(tmp_path: Path) -> None:
    figures = {}
    for number, name in enumerate(("undisturbed", "killed")):
        asyncio.run(twenty_steps(tmp_path, name, 7475 + number))
        summary = read_json(tmp_path / name / "summary.json")
        figures[name] = summary["tokens_generated"] - summary["tokens_trained"]
        batch = summary["tokens_trained"] / summary["steps"]
        assert summary["groups"]["leased"] == summary["groups"]["trained"] == 24 * BATCH_GROUPS
        print(f"figure: {name}_generated_tokens {summary['tokens_generated']} (a batch has {batch:.0f})")
    assert abs(figures["killed"] - figures["undisturbed"]) < batch
    print(replay_equals(tmp_path / "killed"))


async def twenty_steps(directory: Path, name: str, port: int) -> None:
    """A run of 24 steps without a checkpoint; that of the name `killed` loses its learner after 20."""
    overrides = ("stages.0.max_steps=12", "stages.1.max_steps=12", "learner.checkpoint_every=1000")
    with launched(directory, name, port, *overrides) as run:
        await run.until("step 20", lambda status: status.step >= 20)
        if name == "killed":
            run.kill("learner")
        assert run.process is not None
        assert run.process.wait(timeout=300) == 0, run.last_lines()
