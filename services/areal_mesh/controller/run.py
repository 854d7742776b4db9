"""The run: version, stage and state, and the only writer of the ledger. No I/O but the ledger, no task, no client.

What a call decides is in the ledger when the call returns, so that a controller killed at any moment carries on.
"""

import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from areal_mesh.controller.admission import free_places, publish_due
from areal_mesh.controller.begun_with import PromptFact, check_steps_left, facts_of_run
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.condition import CHECKPOINT_STEP, LEARNER_LEFT, PAUSED, STOPPING, Condition
from areal_mesh.controller.evaluation.figures import Evaluations
from areal_mesh.controller.faults import Faults, Hold
from areal_mesh.controller.giving_up import why_given_up
from areal_mesh.controller.group_changes import LeaseStart
from areal_mesh.controller.groups import GroupBook
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.ledger_reader import LedgerReader
from areal_mesh.controller.ledger_rows import GROUP_TOTALS, STEP_TOTALS
from areal_mesh.controller.records import EvaluationRow, GroupRow, PublishRow, RunState, StageEntry, StepRow
from areal_mesh.controller.schedule import steps_looked_at
from areal_mesh.controller.settings_history import history_facts, stages_due
from areal_mesh.controller.stage_progress import StageProgress, StepOrder, check_follows
from areal_mesh.controller.throughput import Throughput
from areal_mesh.runtime.errors import failed_precondition
from areal_mesh.runtime.settings import RunSettings


class Run:
    """The run as its ledger tells it.

    Args:
        prompts: by what a sequence number names its prompt, in every life of the run.

    Raises:
        LedgerError: the ledger belongs to another run.
    """

    def __init__(self, settings: RunSettings, ledger: Ledger, clock: Clock, prompts: Sequence[PromptFact] = ()) -> None:
        self._ledger = ledger
        held = facts_of_run(settings, prompts, ledger)
        for key, value in {**held, **history_facts(settings, ledger, clock.unix())}.items():
            self._keep(key, value)
        self.settings = settings
        self.ledger: LedgerReader = ledger
        """For others to read; only the run writes."""
        self._clock = clock
        self.faults = Faults()
        section = settings.controller
        self.groups = GroupBook(ledger, ledger.put_groups, clock, section.lease_seconds, section.group_attempts)
        self.totals = ledger.step_totals()
        # Added up, perhaps: from now on they are written with each change.
        self._keep(GROUP_TOTALS, self.groups.totals.to_json())
        self._keep(STEP_TOTALS, self.totals.to_json())
        kept = max(Throughput.STEPS + 1, steps_looked_at(settings.stages))
        self.recent = deque(ledger.steps(after=self.version - kept), maxlen=kept)
        """The last steps: as many as rates and the stages' rules look at."""
        self.published_version = ledger.published_version()
        self.weight_updates, self.last_publish = ledger.last_publish()
        self.evaluations = Evaluations(ledger)
        for entry in stages_due(settings.stages, ledger.stages(), self.version, clock.unix()):
            ledger.enter_stage(entry)
        self._progress = StageProgress(settings.stages, ledger.stages())
        self._issued_step = int(ledger.read("issued_step") or 0)
        self._condition = Condition.read(ledger.read)
        if not self.finished:
            check_steps_left(self.version, self.planned_steps)
        self._throughput = Throughput()
        # What only shows a run that is complete is none of its lives.
        self.life = None if self.learner_gone else ledger.begin_life(clock.unix())
        self.started_at = ledger.begun_at()

    def _keep(self, key: str, value: str | None) -> None:
        """Writes a fact, unless it is written so already; None takes it away."""
        if self._ledger.read(key) != value:
            self._ledger.write_fact(key, value)

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
        return self._progress.stage

    @property
    def stages(self) -> Sequence[StageEntry]:
        """Stages entered so far, in their order."""
        return self._progress.entries

    @property
    def stage_steps(self) -> int:
        """Steps committed in that stage."""
        return self._progress.steps(self.version)

    @property
    def planned_steps(self) -> int:
        """Steps of the whole run at most, as the stages passed so far leave it."""
        return self._progress.planned_steps

    @property
    def finished(self) -> bool:
        """Whether the last step of the schedule is committed."""
        return self._condition.finished

    @property
    def stopping(self) -> bool:
        """Whether someone asked the run to stop."""
        return self._condition.stopping

    @property
    def over(self) -> bool:
        """Whether nothing new starts: no group, no step."""
        return self._condition.over

    @property
    def learner_gone(self) -> bool:
        """Whether the learner has left after the run's end: its last checkpoint and export are written."""
        return self._condition.learner_gone

    @property
    def paused(self) -> bool:
        """Whether no step begins: somebody holds the run, or a fault does."""
        return self._condition.paused or self.faults.hold >= Hold.STEPS

    @property
    def state(self) -> RunState:
        """What the run does."""
        return self._condition.state(self.published_version)

    @property
    def _admitting(self) -> bool:
        """Whether groups are leased at all, as far as there are places."""
        held = self._condition.paused or self.faults.hold >= Hold.ADMISSION
        return not (self.over or held or self.published_version < 0)

    def admits(self) -> int:
        """Groups that may be leased now: waiting ones and new ones."""
        return self.groups.open.waiting + self._free_places() if self._admitting else 0

    def _free_places(self) -> int:
        return free_places(self.settings.algorithm, self.groups.counts, self.published_version, self.planned_steps)

    def lease(self, holder: str, most: int, prompt_id_of: Callable[[int], str]) -> list[GroupRow]:
        """Leases up to `most` groups to a member, as far as admission allows."""
        if not self._admitting:
            return []
        start = LeaseStart(self.stage, self.published_version, prompt_id_of)
        return self.groups.issue(holder, most, self._free_places(), start)

    @property
    def hopeless(self) -> str:
        """Why the run ends as it stands: nothing will ever be trained on, or `learner.mismatch_stop`; else empty."""
        return "" if self.over else why_given_up(self.settings, self.groups, self.totals.mismatch_kl)

    def publish_due(self) -> bool:
        """Whether the committed version has to be published."""
        return publish_due(self.settings.weights, self.version, self.published_version)

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
        if self.stopping or (self.finished and learner_version >= self.version):
            return None
        step = learner_version + 1
        if step > self._issued_step:
            self._ledger.write_fact("issued_step", str(step))
            self._issued_step = step
        return self._progress.order(step)

    def commit(
        self,
        step: int,
        group_ids: Sequence[str],
        metrics: Mapping[str, float],
        staleness: Mapping[int, int],
        group_tokens: Sequence[int] = (),
    ) -> bool:
        """Commits a step: its groups end as trained, and a stage or the run may end with it.

        `group_tokens` are the response tokens of each group as the learner has them; nothing where it does not say.
        Returns whether it was new; a step that was committed before changes nothing.

        Raises:
            MeshError: the step is not the next one, or its groups cannot be trained on.
        """
        if step <= self.version:
            return False
        check_follows(self.version, step, group_ids)
        rows = self.groups.trained_rows(group_ids, step, group_tokens)
        unreported = self.groups.unreported_tokens(rows)
        tokens = int(metrics.get("response_tokens", sum(group.tokens for group in rows)))
        generated, trained = self.groups.generated_tokens + unreported, self.totals.tokens + tokens
        more = self._throughput.after_step(self._clock.monotonic(), generated, trained)
        more |= self.evaluations.news(self.last_step)
        stage, now = self._progress.of_step(step), self._clock.unix()
        row = StepRow(step, stage, dict(metrics) | more, dict(staleness), now, tokens)
        entry, finished = self._progress.after_step(row, self.recent)
        totals, groups = self.totals.after(row), self.groups.totals_after(rows)
        self._ledger.commit_step(row, rows, entry, finished, (totals, groups))
        self.groups.committed(rows, groups, unreported)
        self.totals = totals
        self.recent.append(row)
        self._condition.finished = finished
        if entry is not None:
            self._progress.enter(entry)
        return True

    def advance_stage(self, from_stage: int) -> StageEntry:
        """Goes on to the next stage by hand; raises as `pause` does, and as `StageProgress.by_hand`."""
        self._condition.check_steerable()
        entry = self._progress.by_hand(from_stage, self.version, self._issued_step, self._clock.unix())
        self._ledger.enter_stage(entry)
        self._progress.enter(entry)
        return entry

    def ask_for_checkpoint(self) -> int:
        """Notes that a checkpoint is wanted after the step in progress, and returns that; raises as `pause` does."""
        self._condition.check_steerable()
        self._keep(CHECKPOINT_STEP, str(self.version + 1))
        return self.version + 1

    def published(self, row: PublishRow) -> None:
        """Notes that generators hold a version."""
        self._ledger.add_publish(row)
        self.weight_updates += 1
        self.last_publish = row
        self.published_version = max(self.published_version, row.policy_version)

    def evaluated(self, rows: Sequence[EvaluationRow]) -> None:
        """Notes the figures of a version, those of every suite."""
        self._ledger.add_evaluations(rows)
        self.evaluations.add(rows)

    def pause(self) -> None:
        """Holds admission and steps, over restarts too.

        Raises:
            MeshError: FAILED_PRECONDITION, the run is over: there is nothing to hold.
        """
        self._condition.check_steerable()
        self._ledger.write_fact(PAUSED, "yes")
        self._condition.paused = True

    def resume(self) -> None:
        """Takes `pause` back; raises as it does."""
        self._condition.check_steerable()
        self._ledger.erase_fact(PAUSED)
        self._condition.paused = False

    def stop(self, reason: str) -> None:
        """Ends the run after the step in progress. The same run may be started again later and goes on."""
        self._ledger.write_fact(STOPPING, reason)
        self._condition.stopping = True

    def leave(self) -> None:
        """Ends a stop once the run's services have drained."""
        self._ledger.erase_fact(STOPPING)

    def learner_left(self) -> None:
        """Notes that the learner left after the run's end: its last checkpoint and export are written."""
        self._condition.learner_gone = True
        if self.finished:
            self._ledger.write_fact(LEARNER_LEFT, "yes")

    def note_alive(self) -> None:
        """Notes that this life of the controller goes on."""
        if self.life is not None:
            self._ledger.continue_life(self.life, self._clock.unix())

    def note_member(self, holder: str, service_id: str, role: str, address: str) -> bool:
        """Notes a life of a member; returns whether it was unknown."""
        return self._ledger.add_member(holder, service_id, role, address, self._clock.unix())

    def lease_key(self) -> bytes:
        """The key with which the run's leases are sealed (`runtime/lease_seal`); made when it is first asked for."""
        if self._ledger.read("lease_key") is None:
            self._ledger.write_fact("lease_key", secrets.token_hex(32))
        return bytes.fromhex(self._ledger.read("lease_key") or "")
