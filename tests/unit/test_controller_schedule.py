"""The schedule of context stages."""

from areal_mesh.controller.records import StageEntry
from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.controller.schedule import (
    Restarts,
    planned_steps,
    restarts_before,
    stage_end,
    stage_of_step,
    steps_looked_at,
)
from areal_mesh.runtime.settings.stages import (
    LengthShareSettings,
    RewardGainBelowSettings,
    StageSettings,
    TruncatedAboveSettings,
    TruncatedBelowSettings,
)
from tests.unit.stage_support import stage


def flat(steps: int, reward: float = 0.0, truncated: float = 0.5) -> list[StepFigures]:
    return [StepFigures(reward, truncated)] * steps


def ended(plan: StageSettings, figures: list[StepFigures]) -> str | None:
    """The end of a stage after all these steps, of which the rules see the last ones alone."""
    return stage_end(plan, len(figures), figures[-steps_looked_at([plan]) :])


def test_without_rules_a_stage_ends_at_its_most_steps() -> None:
    plan = stage("8K", 8192, 3)
    assert ended(plan, flat(2)) is None
    assert ended(plan, flat(3)) == "3 steps, its most"


def test_no_rule_ends_a_stage_before_its_fewest_steps_or_before_a_full_window() -> None:
    plan = stage("8K", 8192, 100, TruncatedAboveSettings(share=0.4, window=4), min_steps=6)
    assert ended(plan, flat(5)) is None
    assert "above 0.4" in (ended(plan, flat(6)) or "")
    impatient = stage("8K", 8192, 100, TruncatedAboveSettings(share=0.4, window=4))
    assert ended(impatient, flat(3)) is None
    assert ended(impatient, flat(4)) is not None


def test_the_truncated_share_is_the_mean_of_the_last_window() -> None:
    plan = stage("8K", 8192, 100, TruncatedBelowSettings(share=0.1, window=2))
    assert ended(plan, [*flat(9, truncated=0.0), *flat(1, truncated=0.5)]) is None
    assert "below 0.1" in (ended(plan, [*flat(9, truncated=0.5), *flat(2, truncated=0.05)]) or "")


def test_a_reward_that_no_longer_gains_ends_a_stage() -> None:
    plan = stage("8K", 8192, 100, RewardGainBelowSettings(gain=0.2, window=3))
    rising = [StepFigures(0.5 * step, 0.5) for step in range(8)]
    assert ended(plan, rising) is None
    assert ended(plan, flat(5)) is None, "two windows are needed for a gain"
    assert "reward gain" in (ended(plan, flat(6)) or "")


def test_responses_that_fill_the_limit_end_a_stage() -> None:
    plan = stage("8K", 8192, 100, LengthShareSettings(share=0.9, window=2))
    long, short = (StepFigures.of({"response_length": length}, 8192) for length in (7600.0, 4096.0))
    assert ended(plan, [long, short]) is None
    assert ended(plan, [long]) is None
    assert "above 0.9" in (ended(plan, [short, long, long]) or "")
    of_twice = StepFigures.of({"response_length": 7600.0}, 16384)
    assert ended(stage("16K", 16384, 100, LengthShareSettings(window=2)), [of_twice] * 2) is None


ENTRIES = [StageEntry(0, 1, 0.0, "start"), StageEntry(1, 4, 0.0, "rule"), StageEntry(2, 9, 0.0, "by hand")]
PLANS = [
    stage("8K", 8192, 10),
    stage("16K", 16384, 10, restart_reference=False),
    stage("24K", 24000, 10, restart_optimizer=False),
]


def test_a_step_belongs_to_the_last_stage_entered_by_it() -> None:
    assert [stage_of_step(ENTRIES, step) for step in (1, 3, 4, 8, 9, 30)] == [0, 0, 1, 1, 2, 2]


def test_optimizer_and_reference_restart_before_the_first_step_of_a_later_stage_alone() -> None:
    restarts = {step: restarts_before(PLANS, ENTRIES, step) for step in range(1, 12)}
    assert restarts[4] == Restarts(optimizer=True, reference=False)
    assert restarts[9] == Restarts(optimizer=False, reference=True)
    assert all(restarts[step] == Restarts() for step in restarts if step not in (4, 9))


def test_a_stage_passed_before_its_first_step_still_restarts_what_it_asks_for() -> None:
    entries = [ENTRIES[0], StageEntry(1, 4, 0.0, "by hand"), StageEntry(2, 4, 0.0, "by hand")]
    assert stage_of_step(entries, 4) == 2
    assert restarts_before(PLANS, entries, 4) == Restarts(optimizer=True, reference=True)


def test_planned_steps_shrink_when_a_stage_ends_early() -> None:
    assert planned_steps(PLANS, 0, 1) == 30
    assert planned_steps(PLANS, 1, 4) == 23
    assert planned_steps(PLANS, 2, 9) == 18
