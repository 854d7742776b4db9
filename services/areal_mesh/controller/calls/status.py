"""StatusService: what the run does, from memory. One call, and a stream."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from areal_mesh.controller.calls.member_statuses import MemberStatuses
from areal_mesh.controller.calls.messages import stage_message
from areal_mesh.controller.changes import Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.faults import Fault, Hold
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.records import GroupCounts, RunState, StepRow
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.run import Run
from areal_mesh.runtime.channels import TIME_KEY, VERSION_KEY
from areal_mesh.runtime.durations import from_duration, to_duration
from areal_mesh.runtime.identity import RunIdentity, version
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import replay_pb2, status_pb2, status_pb2_grpc

_STATES = {
    RunState.STARTING: status_pb2.RUN_STATE_STARTING,
    RunState.RUNNING: status_pb2.RUN_STATE_RUNNING,
    RunState.PAUSED: status_pb2.RUN_STATE_PAUSED,
    RunState.STOPPING: status_pb2.RUN_STATE_STOPPING,
    RunState.FINISHED: status_pb2.RUN_STATE_FINISHED,
}
_SHORTEST_INTERVAL = 0.1
_DEFAULT_INTERVAL = 1.0
_LONGEST_SILENCE = 10.0  # a watcher sees the ages of heartbeats grow even if nothing changes


@dataclass(frozen=True)
class StatusReader:
    """The run as it stands, out of what the controller has in memory."""

    run: Run
    identity: RunIdentity
    roster: Roster
    replay: ReplayLink
    members: MemberStatuses
    clock: Clock

    def status(self) -> status_pb2.RunStatus:
        """The run as it stands now."""
        run, now = self.run, self.clock.monotonic()
        status = status_pb2.RunStatus(
            run_name=self.identity.name,
            run_id=self.identity.run_id,
            state=_STATES[run.state],
            stage=stage_message(run.settings.stages, run.stage),
            stages=len(run.settings.stages),
            step=run.version,
            stage_step=run.stage_steps,
            planned_steps=run.planned_steps,
            policy_version=run.version,
            published_version=run.published_version,
            step_metrics=_step_metrics(run),
            replay=_replay(self.replay.statistics),
            staleness=run.totals.staleness,
            groups=_groups(run.groups.counts),
            services=self.members.of(self.roster.all(), now),
            started=_timestamp(run.started_at),
            tokens_generated=run.groups.generated_tokens,
            tokens_trained=run.totals.tokens,
            weight_updates=run.weight_updates,
            end_reasons=run.groups.end_reasons,
            group_tokens=run.groups.totals.group_tokens,
            reason_tokens=run.groups.totals.reason_tokens,
            faults=[_fault(fault, now) for fault in run.faults.all()],
            steps_without_update=run.totals.without_update,
        )
        if run.last_publish is not None:
            status.last_pause.CopyFrom(to_duration(run.last_publish.pause))
        if run.last_step is not None:
            status.last_step.CopyFrom(_timestamp(run.last_step.committed_at))
        return status


def _groups(counts: GroupCounts) -> status_pb2.GroupCounts:
    return status_pb2.GroupCounts(
        leased=counts.leased,
        trained=counts.trained,
        stale=counts.stale,
        filtered=counts.filtered,
        failed=counts.failed,
        open=counts.open,
    )


def _step_metrics(run: Run) -> dict[str, float]:
    """Metrics of the last step; what it did not measure, such as a rate in its controller's first step, is older."""
    metrics = {"mismatch_kl": run.totals.mismatch_kl} if run.recent else {}
    for row in run.recent:
        metrics |= row.metrics
    # Of an evaluation that a step has not told of yet.
    return metrics | run.evaluations.latest()


def _step(run: Run, row: StepRow) -> status_pb2.Step:
    return status_pb2.Step(step=row.step, stage=stage_message(run.settings.stages, row.stage), metrics=row.metrics)


def _replay(statistics: replay_pb2.GetReplayStatisticsResponse) -> status_pb2.ReplayStatus:
    return status_pb2.ReplayStatus(
        waiting_groups=statistics.waiting_groups,
        waiting_bytes=statistics.waiting_bytes,
        consumed_groups=statistics.consumed_groups,
        bytes_on_disk=statistics.bytes_on_disk,
    )


def _fault(fault: Fault, now: float) -> status_pb2.Fault:
    return status_pb2.Fault(
        service_id=fault.service_id,
        text=fault.text,
        since=to_duration(max(0.0, now - fault.since)),
        holds_admission=fault.hold >= Hold.ADMISSION,
    )


def _timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromNanoseconds(round(seconds * 1e9))
    return timestamp


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """StatusService: answers out of `reader`; streams end when `ending` is set."""

    def __init__(self, reader: StatusReader, changes: Changes, ending: asyncio.Event) -> None:
        self._reader = reader
        self._run = reader.run
        self._changes = changes
        self._ending = ending

    async def GetStatus(self, request: status_pb2.GetStatusRequest, context: Any) -> status_pb2.GetStatusResponse:
        # For a node that is to join: its own clock and release may be others.
        context.set_trailing_metadata(((TIME_KEY, f"{self._reader.clock.unix():.3f}"), (VERSION_KEY, version())))
        return status_pb2.GetStatusResponse(status=self._reader.status())

    async def WatchStatus(
        self, request: status_pb2.WatchStatusRequest, context: Any
    ) -> AsyncIterator[status_pb2.WatchStatusResponse]:
        interval = max(from_duration(request.interval) or _DEFAULT_INTERVAL, _SHORTEST_INTERVAL)
        run = self._run
        told = request.after_step if request.HasField("after_step") else run.version - 1
        while True:
            # Both before the answer is sent, during which the next step may be committed.
            seen, before, told = self._changes.count, told, run.version
            steps = [_step(run, row) for row in run.ledger.steps(before, told)] if before < told else []
            yield status_pb2.WatchStatusResponse(status=self._reader.status(), steps=steps)
            if self._ending.is_set():
                return
            if not await wait_until(self._ending, interval):
                await self._changes.after(seen, _LONGEST_SILENCE)
