"""A schedule tried on recorded steps: where its stages would have ended. Pure, and an entry point of the command.

What the recorded steps say is what their own schedule made of them: after the first stage that ends elsewhere than it
did there, figures are those of another response limit, which the report says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.controller.schedule import stage_end, steps_looked_at
from areal_mesh.runtime.settings import StageSettings


@dataclass(frozen=True)
class ReplayedStage:
    """A stage as the schedule would have gone through it."""

    name: str
    first_step: int
    last_step: int
    reason: str
    """Why it ended; empty where the recorded steps ended before it did."""
    elsewhere: int
    """Of its steps, how many were recorded at another response limit."""

    @property
    def steps(self) -> int:
        """Of the stage."""
        return self.last_step - self.first_step + 1


class NothingRecorded(ValueError):
    """Rows without what a schedule looks at."""


def replay_schedule(
    stages: Sequence[StageSettings], rows: Iterable[Mapping[str, Any]], epoch_share: float
) -> list[ReplayedStage]:
    """The stages that the schedule would have gone through.

    Args:
        rows: of `metrics.jsonl`, in order.
        epoch_share: of the prompts that a step is, where a row does not say it.

    Raises:
        NothingRecorded: there is no step, or one without its reward or its truncated share.
    """
    kept, found = steps_looked_at(stages), []
    figures: list[StepFigures] = []
    number = first = elsewhere = steps = last = 0
    for row in rows:
        lacking = [name for name in ("step", "reward", "truncated") if row.get(name) is None]
        if lacking:
            raise NothingRecorded(f"step {row.get('step', '?')} does not say its {' and '.join(lacking)}")
        if number == len(stages):
            break
        plan, last = stages[number], int(row["step"])
        steps, first = steps + 1, first or last
        elsewhere += row.get("max_response_tokens", plan.max_response_tokens) != plan.max_response_tokens
        step = StepFigures.of({"epoch_share": epoch_share, **row}, plan.max_response_tokens)
        figures = [*figures, step][-max(1, kept) :]
        reason = stage_end(plan, steps, figures)
        if reason is not None:
            found.append(ReplayedStage(plan.name, first, last, reason, elsewhere))
            number, first, elsewhere, steps, figures = number + 1, 0, 0, 0, []
    if not found and not steps:
        raise NothingRecorded("holds no step")
    if steps:
        found.append(ReplayedStage(stages[number].name, first, last, "", elsewhere))
    return found
