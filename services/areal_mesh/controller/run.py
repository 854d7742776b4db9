"""The run: version, stage and state, and the only writer of the ledger. No I/O but the ledger, no task, no client.

What a call decides is in the ledger when the call returns, so that a controller killed at any moment carries on.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from areal_mesh.controller.admission import free_places, publish_due
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.faults import Faults, Hold
from areal_mesh.controller.groups import Beginning, GroupBook
from areal_mesh.controller.ledger import Ledger, LedgerError
from areal_mesh.controller.plan import RunPlan, check_same_run
from areal_mesh.controller.records import GroupRow, PublishRow, RunState, StageEntry, StepRow
from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.controller.schedule import (
    Restarts,
    planned_steps,
    restarts_before,
    stage_end,
    stage_of_step,
    stage_title,
    steps_looked_at,
)
from areal_mesh.controller.throughput import Throughput
from areal_mesh.runtime.errors import failed_precondition, invalid_argument


@dataclass(frozen=True)
class StepOrder:
    """A step for the learner: it makes policy version `step`."""

    step: int
    stage: int
    restarts: Restarts


class Run:
    """The run as its ledger tells it.

    Raises:
        LedgerError: the ledger belongs to another run.
    """

    def __init__(self, plan: RunPlan, ledger: Ledger, clock: Clock) -> None:
        check_same_run(plan, ledger)
        self.plan = plan
        self.ledger = ledger
        self._clock = clock
        self.faults = Faults()
        self.groups = GroupBook(ledger, clock, plan.lease_seconds, plan.group_attempts)
        self.totals = ledger.step_totals()
        kept = max(Throughput.STEPS + 1, steps_looked_at(plan.stages))
        self.recent = deque(ledger.steps(after=self.version - kept), maxlen=kept)
        """The last steps: as many as rates and the stages' rules look at."""
        self.published_version = ledger.published_version()
        self.weight_updates, self.last_publish = ledger.last_publish()
        if not ledger.stages():
            ledger.enter_stage(StageEntry(0, 1, clock.unix(), "start of the run"))
        self.stages = ledger.stages()
        self._issued_step = int(ledger.read("issued_step") or 0)
        self._paused = ledger.read("paused") is not None
        self._stopping = ledger.read("stopping")
        self._finished = ledger.read("finished") is not None
        if not self._finished and self.version >= self.planned_steps:
            raise LedgerError(
                f"stages: {self.version} steps are done and the schedule ends after {self.planned_steps}, so none is "
                "left to take; raise max_steps of the last stage, or give the run another name"
            )
        self.learner_gone = ledger.read("learner_left") is not None
        self._throughput = Throughput()
        # What only shows a run that is complete is none of its lives.
        self.life = None if self.learner_gone else ledger.begin_life(clock.unix())
        self.started_at = ledger.begun_at()

    @property
    def version(self) -> int:
        """Committed optimizer batches: the run's policy version."""
        return self.totals.step

    @property
    def last_step(self) -> StepRow | None:
        """The step that was committed last."""
        return self.recent[-1] if self.recent else None

    @property
    def stage(self) -> int:
        """The stage in which groups are leased now."""
        return self.stages[-1].stage

    @property
    def stage_steps(self) -> int:
        """Steps committed in that stage."""
        return max(0, self.version - self.stages[-1].first_step + 1)

    @property
    def issued_step(self) -> int:
        """The last step that a learner was ever told to take."""
        return self._issued_step

    @property
    def finished(self) -> bool:
        """Whether the last step of the schedule is committed."""
        return self._finished

    @property
    def stopping(self) -> bool:
        """Whether someone asked the run to stop."""
        return self._stopping is not None

    @property
    def over(self) -> bool:
        """Whether nothing new starts: no group, no step."""
        return self._finished or self.stopping

    @property
    def paused(self) -> bool:
        """Whether no step begins: somebody holds the run, or a fault does."""
        return self._paused or self.faults.hold >= Hold.STEPS

    @property
    def state(self) -> RunState:
        """What the run does."""
        if self._finished:
            return RunState.FINISHED
        if self.stopping:
            return RunState.STOPPING
        if self._paused:
            return RunState.PAUSED
        return RunState.STARTING if self.published_version < 0 else RunState.RUNNING

    @property
    def planned_steps(self) -> int:
        """Steps of the whole run at most, as the stages passed so far leave it."""
        return planned_steps(self.plan.stages, self.stage, self.stages[-1].first_step)

    def admits(self) -> int:
        """Groups that may be leased now: waiting ones and new ones."""
        held = self._paused or self.faults.hold >= Hold.ADMISSION
        if self.over or held or self.published_version < 0:
            return 0
        return self.groups.waiting() + self._free_places()

    def _free_places(self) -> int:
        return free_places(self.plan.pacing, self.groups.counts, self.published_version, self.planned_steps)

    def lease(self, holder: str, most: int, prompt_id_of: Callable[[int], str]) -> list[GroupRow]:
        """Leases up to `most` groups to a member, as far as admission allows."""
        if self.admits() == 0:
            return []
        beginning = Beginning(self.stage, self.published_version, prompt_id_of)
        return self.groups.issue(holder, most, self._free_places(), beginning)

    @property
    def hopeless(self) -> str:
        """Why nothing will ever be trained on here, as far as the groups so far tell; empty while that is open."""
        row, most = self.groups.fruitless, self.plan.fruitless_groups
        # One outage ends all that is in flight, which in a large mesh may be more than the bound.
        if self.over or not most or row.length < max(most, 2 * self.groups.counts.running):
            return ""
        reason, count = row.commonest()
        return (
            f"{row.length} groups in a row ended filtered or failed, and none was stored; {count} of them: "
            f"{reason}. Mend that and start the run again, with --fresh where its settings or prompts change "
            f"(controller.fruitless_groups = {most} sets the bound)"
        )

    def publish_due(self) -> bool:
        """Whether the committed version has to be published."""
        return publish_due(self.plan.pacing, self.version, self.published_version)

    def next_step(self, learner_version: int) -> StepOrder | None:
        """The step after the learner's version; None once the run needs no more of them.

        A learner that came back with an older version goes through the committed steps again, which changes nothing
        here: their batches are drawn again from the replay buffer.

        Raises:
            MeshError: FAILED_PRECONDITION, the learner is ahead of the ledger.
        """
        if learner_version > self.version:
            raise failed_precondition(
                f"the learner holds version {learner_version} but step {self.version + 1} was never committed; "
                f"commit it, or start from a checkpoint of version {self.version} or older"
            )
        if self.stopping or (self._finished and learner_version >= self.version):
            return None
        step = learner_version + 1
        if step > self._issued_step:
            self.ledger.write("issued_step", str(step))
            self._issued_step = step
        return StepOrder(step, stage_of_step(self.stages, step), restarts_before(self.plan.stages, self.stages, step))

    def commit(
        self,
        step: int,
        group_ids: Sequence[str],
        metrics: Mapping[str, float],
        staleness: Mapping[int, int],
        group_tokens: Sequence[int] = (),
    ) -> bool:
        """Commits a step: its groups end as trained, and a stage or the run may end with it.

        `group_tokens`: response tokens of each group as the learner has them; nothing where it does not say.
        Returns whether it was new; a step that was committed before changes nothing.

        Raises:
            MeshError: the step is not the next one, or its groups cannot be trained on.
        """
        if step <= self.version:
            return False
        if step != self.version + 1:
            raise failed_precondition(f"step {step} cannot follow step {self.version}; commit {self.version + 1} first")
        if not group_ids:
            raise invalid_argument("group_ids", "name the groups of the batch")
        if len(set(group_ids)) < len(group_ids):
            raise invalid_argument("group_ids", "a group is named twice; each is trained on once")
        rows = self.groups.trained_rows(group_ids, step, group_tokens)
        unreported, now = self.groups.unreported_tokens(rows), self._clock.monotonic()
        generated = self.groups.generated_tokens + unreported
        tokens = int(metrics.get("response_tokens", sum(group.tokens for group in rows)))
        row = StepRow(
            step=step,
            stage=stage_of_step(self.stages, step),
            metrics=dict(metrics) | self._throughput.after_step(now, generated, self.totals.tokens + tokens),
            staleness=dict(staleness),
            committed_at=self._clock.unix(),
            tokens=tokens,
        )
        entry, finished = self._what_follows(row)
        totals, groups = self.totals.after(row), self.groups.totals_after(rows)
        self.ledger.commit_step(row, rows, entry, finished, (totals, groups))
        self.groups.committed(rows, groups, unreported)
        self.totals = totals
        self.recent.append(row)
        self._finished = finished
        if entry is not None:
            self.stages.append(entry)
        return True

    def _what_follows(self, row: StepRow) -> tuple[StageEntry | None, bool]:
        """The stage entered after a step, and whether the run is complete with it."""
        plan = self.plan.stages[self.stage]
        if row.stage != self.stage:
            return None, False
        recent = [StepFigures.of(step.metrics) for step in [*self.recent, row] if step.stage == self.stage]
        reason = stage_end(plan, self.stage_steps + 1, recent)
        if reason is None:
            return None, False
        if self.stage == len(self.plan.stages) - 1:
            return None, True
        return StageEntry(self.stage + 1, row.step + 1, row.committed_at, reason), False

    def advance_stage(self, from_stage: int) -> StageEntry:
        """Goes on to the next stage by hand. A step that the learner has begun still belongs to the stage before.

        A stage has one step at least: asked during a start, or twice in a row, this would else pass one over whole.

        Raises:
            MeshError: FAILED_PRECONDITION in the last stage, before the current one has a step, if `from_stage` is not
                the current one, or once the run is over.
        """
        self._still_to_steer()
        stages = self.plan.stages
        if from_stage != self.stage:
            asked = stage_title(stages, from_stage) if 0 <= from_stage < len(stages) else f"from_stage = {from_stage}"
            raise failed_precondition(f"{asked} is not the current one; {stage_title(stages, self.stage)} is")
        if self.stage == len(stages) - 1:
            raise failed_precondition(
                f"{stage_title(stages, self.stage)} is the last one; `areal-mesh stop` ends the run"
            )
        if not self.stage_steps:
            raise failed_precondition(
                f"{stage_title(stages, self.stage)} has no step yet and would be passed over whole; ask after its first"
            )
        first_step = max(self.version, self._issued_step, self.stages[-1].first_step - 1) + 1
        entry = StageEntry(self.stage + 1, first_step, self._clock.unix(), "by hand")
        self.ledger.enter_stage(entry)
        self.stages.append(entry)
        return entry

    def published(self, row: PublishRow) -> None:
        """Generators hold a version."""
        self.ledger.add_publish(row)
        self.weight_updates += 1
        self.last_publish = row
        self.published_version = max(self.published_version, row.policy_version)

    def pause(self) -> None:
        """Holds admission and steps, over restarts too.

        Raises:
            MeshError: FAILED_PRECONDITION, the run is over: there is nothing to hold.
        """
        self._still_to_steer()
        self.ledger.write("paused", "yes")
        self._paused = True

    def resume(self) -> None:
        """Takes `pause` back.

        Raises:
            MeshError: FAILED_PRECONDITION, the run is over: nothing would go on.
        """
        self._still_to_steer()
        self.ledger.erase("paused")
        self._paused = False

    def _still_to_steer(self) -> None:
        if self._finished:
            raise failed_precondition("the run is finished: nothing starts in it any more")
        if self.stopping:
            raise failed_precondition(
                "the run is stopping and nothing new starts; once it has ended, the same `areal-mesh up` continues it"
            )

    def stop(self, reason: str) -> None:
        """Ends the run after the step in progress. The same run may be started again later and goes on."""
        self.ledger.write("stopping", reason)
        self._stopping = reason

    def leave(self) -> None:
        """The run's services have drained: a stop is done with, and the next start goes on."""
        self.ledger.erase("stopping")

    def learner_left(self) -> None:
        """The learner has left after the run's end: its last checkpoint and export are written."""
        self.learner_gone = True
        if self._finished:
            self.ledger.write("learner_left", "yes")

    def live_on(self) -> None:
        """Notes that this life of the controller goes on."""
        if self.life is not None:
            self.ledger.continue_life(self.life, self._clock.unix())
