"""Where a run is in its schedule, and which stage follows when. Pure: the run writes down what is entered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from areal_mesh.controller.records import StageEntry, StepRow
from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.controller.schedule import (
    Restarts,
    planned_steps,
    restarts_before,
    stage_end,
    stage_of_step,
    stage_title,
)
from areal_mesh.runtime.errors import failed_precondition, invalid_argument
from areal_mesh.runtime.settings import StageSettings


@dataclass(frozen=True)
class StepOrder:
    """A step for the learner: it makes policy version `step`."""

    step: int
    stage: int
    restarts: Restarts


class StageProgress:
    """The stages entered so far, of those that the settings plan.

    Args:
        entries: the stages entered, one at least.
    """

    def __init__(self, plans: Sequence[StageSettings], entries: Iterable[StageEntry]) -> None:
        self._plans = plans
        self.entries = list(entries)
        self.planned_steps = self._count_planned()
        """Steps of the whole run at most, as the stages passed so far leave it; asked for with each lease."""

    @property
    def stage(self) -> int:
        """The stage entered last."""
        return self.entries[-1].stage

    def _count_planned(self) -> int:
        return planned_steps(self._plans, self.stage, self.entries[-1].first_step)

    @property
    def _is_last(self) -> bool:
        return self.stage == len(self._plans) - 1

    def steps(self, version: int) -> int:
        """Steps of the stage entered last, where `version` of them are committed in the whole run."""
        return max(0, version - self.entries[-1].first_step + 1)

    def of_step(self, step: int) -> int:
        """The stage that a step belongs to."""
        return stage_of_step(self.entries, step)

    def order(self, step: int) -> StepOrder:
        """A step as the learner is told to take it."""
        return StepOrder(step, self.of_step(step), restarts_before(self._plans, self.entries, step))

    def after_step(self, row: StepRow, before: Iterable[StepRow]) -> tuple[StageEntry | None, bool]:
        """The stage entered after a step, and whether the schedule is complete with it.

        Args:
            before: the steps before it, as many as the rules look at.
        """
        if row.stage != self.stage:
            return None, False
        plan, rows = self._plans[self.stage], [step for step in [*before, row] if step.stage == self.stage]
        figures = [StepFigures.of(step.metrics, plan.max_response_tokens) for step in rows]
        reason = stage_end(plan, self.steps(row.step), figures)
        if reason is None:
            return None, False
        if self._is_last:
            return None, True
        return StageEntry(self.stage + 1, row.step + 1, row.committed_at, reason), False

    def by_hand(self, from_stage: int, version: int, issued_step: int, now: float) -> StageEntry:
        """The stage entered next because someone says so. A step that the learner has begun is of the stage before.

        A stage has one step at least: asked during a start, or twice in a row, this would else pass one over whole.

        Args:
            issued_step: the last step that a learner was ever told to take.

        Raises:
            MeshError: FAILED_PRECONDITION in the last stage, before the current one has a step, or if `from_stage` is
                not the current one.
        """
        plans, current = self._plans, stage_title(self._plans, self.stage)
        if from_stage != self.stage:
            asked = stage_title(plans, from_stage) if 0 <= from_stage < len(plans) else f"from_stage = {from_stage}"
            raise failed_precondition(f"{asked} is not the current one; {current} is")
        if self._is_last:
            raise failed_precondition(f"{current} is the last one; `areal-mesh stop` ends the run")
        if not self.steps(version):
            raise failed_precondition(f"{current} has no step yet and would be passed over whole; ask after its first")
        first_step = max(version, issued_step, self.entries[-1].first_step - 1) + 1
        return StageEntry(self.stage + 1, first_step, now, "by hand")

    def enter(self, entry: StageEntry) -> None:
        """Goes on to a stage, once it is written down."""
        self.entries.append(entry)
        self.planned_steps = self._count_planned()


def check_follows(version: int, step: int, group_ids: Sequence[str]) -> None:
    """Checks that a step is the next one, and that its batch names groups, each once.

    Raises:
        MeshError: FAILED_PRECONDITION or INVALID_ARGUMENT, it is not so.
    """
    if step != version + 1:
        raise failed_precondition(f"step {step} cannot follow step {version}; commit {version + 1} first")
    if not group_ids:
        raise invalid_argument("group_ids", "name the groups of the batch")
    if len(set(group_ids)) < len(group_ids):
        raise invalid_argument("group_ids", "a group is named twice; each is trained on once")
