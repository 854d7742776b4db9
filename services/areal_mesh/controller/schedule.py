"""The schedule of context stages: when a stage ends, which stage a step belongs to, and what restarts with it.

A stage ends after `max_steps`; or, once `min_steps` are done, by a rule on the means over its last `window` steps; or
by hand. Rules look at a full window only (two, for the reward's gain), so that one lucky step decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from areal_mesh.controller.records import StageEntry


@dataclass(frozen=True)
class StagePlan:
    """One stage as planned. A rule that is None is off; see the settings of the same names."""

    name: str
    max_response_tokens: int
    max_steps: int
    min_steps: int = 0
    end_when_truncated_above: float | None = None
    end_when_truncated_below: float | None = None
    end_when_reward_gain_below: float | None = None
    window: int = 10
    restart_optimizer: bool = True
    restart_reference: bool = True


@dataclass(frozen=True)
class StepFigures:
    """What the rules look at in a step: mean reward, and share of responses that the limit cut off (0 to 1)."""

    reward: float
    truncated: float


@dataclass(frozen=True)
class Restarts:
    """What the learner starts anew before a step."""

    optimizer: bool = False
    reference: bool = False


def stage_title(plans: Sequence[StagePlan], stage: int) -> str:
    """A stage as people are told of it, counted from 1: `stage 24 (3 of 3)`."""
    return f"stage {plans[stage].name} ({stage + 1} of {len(plans)})"


def stage_end(plan: StagePlan, steps: int, figures: Sequence[StepFigures]) -> str | None:
    """Why the stage ends after so many steps of it; None while it goes on.

    Args:
        figures: of the stage's last steps, oldest first: two windows of them, or all where it has fewer.
    """
    if steps >= plan.max_steps:
        return f"{steps} steps, its most"
    if steps < max(plan.min_steps, plan.window):
        return None
    truncated = fmean(figure.truncated for figure in figures[-plan.window :])
    if plan.end_when_truncated_above is not None and truncated > plan.end_when_truncated_above:
        return f"truncated share {truncated:.3f} over {plan.window} steps is above {plan.end_when_truncated_above}"
    if plan.end_when_truncated_below is not None and truncated < plan.end_when_truncated_below:
        return f"truncated share {truncated:.3f} over {plan.window} steps is below {plan.end_when_truncated_below}"
    if plan.end_when_reward_gain_below is not None and steps >= 2 * plan.window:
        recent = fmean(figure.reward for figure in figures[-plan.window :])
        before = fmean(figure.reward for figure in figures[-2 * plan.window : -plan.window])
        if recent - before < plan.end_when_reward_gain_below:
            return (
                f"reward gain {recent - before:.3f} over {plan.window} steps is below {plan.end_when_reward_gain_below}"
            )
    return None


def stage_of_step(entries: Sequence[StageEntry], step: int) -> int:
    """The stage that `step` belongs to: the last one entered with a first step at or before it."""
    return max(entry.stage for entry in entries if entry.first_step <= step)


def restarts_before(plans: Sequence[StagePlan], entries: Sequence[StageEntry], step: int) -> Restarts:
    """What restarts before `step`: something only before the first step of a stage after the first.

    A stage that was passed by hand before it had a step still counts: what any stage between the last step and this
    one would have restarted, restarts.
    """
    if step <= 1:
        return Restarts()
    passed = plans[stage_of_step(entries, step - 1) + 1 : stage_of_step(entries, step) + 1]
    return Restarts(any(plan.restart_optimizer for plan in passed), any(plan.restart_reference for plan in passed))


def planned_steps(plans: Sequence[StagePlan], stage: int, first_step: int) -> int:
    """Steps of the whole run at most, with `stage` the last one entered and `first_step` its first step."""
    return first_step - 1 + sum(plan.max_steps for plan in plans[stage:])
