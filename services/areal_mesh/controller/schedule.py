"""The schedule of context stages: when a stage ends, which stage a step belongs to, and what restarts with it.

A stage ends after `max_steps`; or, once `min_steps` are done, by the first of its rules (see `rules`) or by all of them
together; or by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from areal_mesh.controller.records import StageEntry
from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.controller.rules.table import MOST_WINDOWS, apply_rule
from areal_mesh.runtime.settings import StageSettings


@dataclass(frozen=True)
class Restarts:
    """What the learner starts anew before a step."""

    optimizer: bool = False
    reference: bool = False


def stage_title(stages: Sequence[StageSettings], stage: int) -> str:
    """A stage as people are told of it, counted from 1: `stage 24 (3 of 3)`."""
    return f"stage {stages[stage].name} ({stage + 1} of {len(stages)})"


def stage_end(stage: StageSettings, steps: int, figures: Sequence[StepFigures]) -> str | None:
    """Why the stage ends after so many steps of it; None while it goes on.

    Args:
        figures: of the stage's last steps, oldest first: `steps_looked_at` of them, or all where it has fewer.
    """
    if steps >= stage.max_steps:
        return f"{steps} steps, its most"
    if steps < stage.min_steps:
        return None
    found = (apply_rule(rule, figures, steps) for rule in stage.rules)
    reasons = [reason for reason in found if reason is not None]
    if not reasons or (stage.ends_by == "all" and len(reasons) < len(stage.rules)):
        return None
    return reasons[0] if stage.ends_by == "any" else " and ".join(reasons)


def steps_looked_at(stages: Sequence[StageSettings]) -> int:
    """How many of a stage's last steps its rules may look at, in the stage that looks at most."""
    return max((MOST_WINDOWS * rule.window for stage in stages for rule in stage.rules), default=0)


def stage_of_step(entries: Sequence[StageEntry], step: int) -> int:
    """The stage that `step` belongs to: the last one entered with a first step at or before it."""
    return max(entry.stage for entry in entries if entry.first_step <= step)


def restarts_before(stages: Sequence[StageSettings], entries: Sequence[StageEntry], step: int) -> Restarts:
    """What restarts before `step`: something only before the first step of a stage after the first.

    A stage that was passed by hand before it had a step still counts: what any stage between the last step and this
    one would have restarted, restarts.
    """
    if step <= 1:
        return Restarts()
    passed = stages[stage_of_step(entries, step - 1) + 1 : stage_of_step(entries, step) + 1]
    return Restarts(any(plan.restart_optimizer for plan in passed), any(plan.restart_reference for plan in passed))


def planned_steps(stages: Sequence[StageSettings], stage: int, first_step: int) -> int:
    """Steps of the whole run at most, with `stage` the last one entered and `first_step` its first step."""
    return first_step - 1 + sum(plan.max_steps for plan in stages[stage:])
