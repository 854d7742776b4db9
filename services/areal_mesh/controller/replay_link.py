"""Keeps the ledger and the replay buffer of one mind: evicts what is too old, and finds what the ledger is unsure of.

A group may be stored although its generator died before saying so, or be dropped although nobody told: either would
hold a place in admission for ever. So all open groups are compared when the replay buffer or the learner registers,
and every lease time besides.

A replay buffer that does not answer is no fault here: the next comparison finds the same, and drawing enforces the
bound anyway.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import grpc
import grpc.aio
import structlog

from areal_mesh.controller.records import GroupRow, GroupState
from areal_mesh.controller.run import Run
from areal_mesh.v1 import replay_pb2, replay_pb2_grpc

_LOG = structlog.get_logger("replay_link")
_CALL_SECONDS = 5.0


class FoundGroup(Protocol):
    """What the replay buffer says of a group it knows."""

    @property
    def group_id(self) -> str: ...
    @property
    def oldest_policy_version(self) -> int: ...
    @property
    def stale(self) -> bool: ...
    @property
    def set_aside(self) -> bool: ...


def reconcile(run: Run, asked: Iterable[GroupRow], found: Sequence[FoundGroup]) -> int:
    """Takes over what the replay buffer knows of the groups asked for; returns how many changed.

    Groups are judged by their state now and, where the replay buffer lacks them, also by the one when they were asked
    for: a group stored meanwhile is not lost.
    """
    known = {group.group_id: group for group in found}
    before = run.groups.counts
    stale = [group.group_id for group in found if group.stale]
    run.groups.drop_stale(stale, "dropped by the replay buffer")
    run.groups.set_aside({group.group_id: "the replay buffer holds it no more" for group in found if group.set_aside})
    run.groups.found_stored(
        {group.group_id: group.oldest_policy_version for group in found if not (group.stale or group.set_aside)}
    )
    missing = [row.group_id for row in asked if row.state is GroupState.STORED and row.group_id not in known]
    lost = run.groups.not_found_stored(missing)
    if lost:
        _LOG.error("the replay buffer lost groups; they are issued again", groups=[row.group_id for row in lost])
    after = run.groups.counts
    return sum(abs(getattr(after, state) - getattr(before, state)) for state in ("running", "stale", "filtered"))


def log_fault(committed: int, drawn: int, released: int) -> str:
    """What is wrong between the ledger, whose last step is `committed`, and the log; empty for nothing.

    The batch of a step is drawn before the step is committed, and committed before it is released. So a log that ends
    sooner, or a ledger that does, has lost what it had.
    """
    if drawn < committed:
        return (
            f"the replay log ends with the batch of step {drawn}, but step {committed} is committed: groups that were "
            "stored are gone. No step begins until the folder replay/ of the run is restored from a copy; without one, "
            "`areal-mesh up --fresh` begins the run anew"
        )
    if released > committed:
        return (
            f"the ledger ends with step {committed}, but the replay log has released step {released}, which a "
            "checkpoint covers: the ledger is of an earlier time. No step begins until ledger.db of the run is "
            "restored from a copy; without one, `areal-mesh up --fresh` begins the run anew"
        )
    return ""


class ReplayLink:
    """The calls to the replay buffer; `stub` is None while none is registered."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.stub: replay_pb2_grpc.ReplayServiceAsyncStub | None = None
        self.statistics = replay_pb2.GetReplayStatisticsResponse()

    async def compare(self) -> int:
        """Compares the open groups; returns how many changed."""
        asked = self._run.groups.open.all()
        if self.stub is None or not asked:
            return 0
        request = replay_pb2.FindGroupsRequest(group_ids=[row.group_id for row in asked])
        try:
            response = await self.stub.FindGroups(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _LOG.warning("groups could not be compared", code=error.code().name)
            return 0
        return reconcile(self._run, asked, response.groups)

    async def holds(self, group_id: str) -> bool:
        """Whether a group is stored there; False too where nobody answers."""
        if self.stub is None:
            return False
        request = replay_pb2.FindGroupsRequest(group_ids=[group_id])
        try:
            response = await self.stub.FindGroups(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _LOG.warning("a group could not be looked up", group=group_id, code=error.code().name)
            return False
        return bool(response.groups)

    async def evict_stale(self, version: int) -> int:
        """Drops stored groups that are too old at `version`; returns how many."""
        if self.stub is None:
            return 0
        bound = self._run.settings.algorithm.max_staleness
        request = replay_pb2.EvictStaleRequest(policy_version=version, max_staleness=bound)
        try:
            response = await self.stub.EvictStale(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _LOG.warning("stale groups could not be evicted", code=error.code().name)
            return 0
        return self._run.groups.drop_stale(response.group_ids, f"older than {bound} at version {version}")

    async def refresh_statistics(self) -> str | None:
        """Asks for the buffer's depth, for status and metrics.

        Returns what is wrong with its log, see `log_fault`; None where it does not answer.
        """
        if self.stub is None:
            return None
        committed = self._run.version
        request = replay_pb2.GetReplayStatisticsRequest(policy_version=committed)
        try:
            self.statistics = await self.stub.GetReplayStatistics(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _LOG.warning("no statistics of the replay buffer", code=error.code().name)
            return None
        # Steps go on while the answer is on its way: drawn before `committed`, released not beyond what is now.
        drawn, released = self.statistics.last_drawn_step, self.statistics.released_step
        return log_fault(committed, drawn, 0) or log_fault(self._run.version, self._run.version, released)
