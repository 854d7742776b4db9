"""Calls about groups: lease them, end leases, report groups that were too old to be drawn."""

from dataclasses import dataclass, field
from functools import partial

import structlog

from areal_mesh.controller.calls.callers import Callers
from areal_mesh.controller.calls.claims import check_stored, check_tokens, check_version, too_old
from areal_mesh.controller.calls.issued import IssuedLeases
from areal_mesh.controller.calls.lease_messages import LeaseMessages
from areal_mesh.controller.calls.messages import wait_seconds
from areal_mesh.controller.calls.waiting_calls import WaitingCalls
from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.lease_queue import LeaseQueue
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.prompts import PromptFile
from areal_mesh.controller.records import GroupRow, GroupState
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.run import Run
from areal_mesh.controller.stored_ends import StoredEnds
from areal_mesh.runtime.errors import invalid_argument, permission_denied
from areal_mesh.runtime.problems import Problem
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import common_pb2, controller_pb2

_LOG = structlog.get_logger("controller")


@dataclass(frozen=True)
class LeaseCalls:
    """Leases. None of these calls waits for a publish."""

    run: Run
    settings: RunSettings
    prompts: PromptFile
    roster: Roster
    callers: Callers
    queue: LeaseQueue
    replay: ReplayLink
    issued: IssuedLeases
    messages: LeaseMessages
    changes: Changes
    stored: StoredEnds
    waiting: WaitingCalls = field(default_factory=WaitingCalls)
    """Long polls for a lease, by member's life."""

    async def lease(self, request: controller_pb2.LeaseGroupsRequest) -> controller_pb2.LeaseGroupsResponse:
        """Leases groups once there are places, or none where none come in time."""
        member = await self.callers.wait_for(request)
        repeated = self._issued_before(member, request.idempotency_key)
        if repeated is not None:
            return self._response(repeated, {})
        may, seconds = partial(self._may_lease, member.key), wait_seconds(request.wait)
        with self.waiting.one_more(member.key):
            async with self.queue.turn(request.max_groups, may, seconds) as groups:
                return self._issue(request, groups)

    def _issue(self, request: controller_pb2.LeaseGroupsRequest, groups: int) -> controller_pb2.LeaseGroupsResponse:
        """Leases at the end of the wait, which may have outlived this life of the member."""
        member = self.callers.of(request)
        # Another attempt of the same call may have waited beside this one.
        repeated = self._issued_before(member, request.idempotency_key)
        if repeated is not None:
            return self._response(repeated, {})
        if groups == 0:
            return self._response([], {})
        read: dict[int, Problem] = {}

        def prompt_id_of(sequence: int) -> str:
            read[sequence] = self.prompts.at(sequence)
            return read[sequence].prompt_id

        rows = self.run.lease(member.key, groups, prompt_id_of)
        if rows:
            self.issued.put(member.key, request.idempotency_key, (row.group_id for row in rows))
        return self._response(rows, read)

    def _response(self, rows: list[GroupRow], read: dict[int, Problem]) -> controller_pb2.LeaseGroupsResponse:
        finished = self.run.over and not rows
        return controller_pb2.LeaseGroupsResponse(leases=self.messages.of(rows, read), finished=finished)

    def _issued_before(self, member: Member, idempotency_key: str) -> list[GroupRow] | None:
        """What a call with this key was given, as far as it is still leased; None where there was none."""
        issued = self.issued.find(member.key, idempotency_key)
        if issued is None:
            return None
        return [row for row in self.run.groups.open.held_by(member.key) if row.group_id in issued]

    def _may_lease(self, holder: str) -> bool:
        """Whether a generator holds at least the published weights, and is to stay."""
        member = self.roster.find(holder)
        return (
            member is not None
            and member.role == common_pb2.ROLE_GENERATOR
            and not member.quarantined
            and member.state != common_pb2.SERVICE_STATE_DRAINING
            and member.policy_version >= self.run.published_version >= 0
        )

    async def end(self, request: controller_pb2.EndLeaseRequest) -> controller_pb2.EndLeaseResponse:
        """Takes in how a generator's part of a group ended."""
        member = await self.callers.wait_for(request)
        if member.role != common_pb2.ROLE_GENERATOR:
            raise permission_denied(f"{request.service_id} is not registered as a generator")
        holder, groups = member.key, self.run.groups
        if request.end == controller_pb2.LEASE_END_STORED:
            await self._store(request, holder)
            self.changes.notify()  # what is stored keeps its place
            return controller_pb2.EndLeaseResponse()
        self._check_holder(request, holder)
        if request.end == controller_pb2.LEASE_END_FILTERED:
            check_tokens(request, groups.row(request.group_id), self.settings)
            groups.filter(holder, request.group_id, request.reason, request.response_tokens)
        elif request.end == controller_pb2.LEASE_END_FAILED:
            groups.fail(holder, request.group_id, request.reason)
        elif request.end == controller_pb2.LEASE_END_RETURNED:
            groups.give_back(holder, [request.group_id])
        else:
            raise invalid_argument("end", "say how the lease ended: stored, filtered, failed or returned")
        self.changes.notify(Change.PLACES)
        return controller_pb2.EndLeaseResponse()

    def _check_holder(self, request: controller_pb2.EndLeaseRequest, holder: str) -> None:
        """A lease that lapsed is nobody's until it is issued again; then it is another's to end."""
        row = self.run.groups.row(request.group_id)
        if row.state is GroupState.RUNNING and row.holder not in ("", holder):
            raise permission_denied(f"group_id: {request.group_id} is not leased to {request.service_id}")

    async def _store(self, request: controller_pb2.EndLeaseRequest, holder: str) -> None:
        """Takes in a stored group; of one leased to another, or to nobody, the replay buffer has to know."""
        row = self.run.groups.row(request.group_id)
        check_stored(request, row, self.run.version, self.settings)
        foreign = row.state is GroupState.RUNNING and row.holder != holder
        if foreign and not await self.replay.holds(request.group_id):
            raise permission_denied(f"group_id: {request.group_id} is not leased to {request.service_id}")
        figures = StoredFigures(request.oldest_policy_version, request.response_tokens)
        await self.stored.store(request.group_id, figures)

    async def report_stale(self, request: controller_pb2.ReportStaleRequest) -> controller_pb2.ReportStaleResponse:
        """Ends groups that were too old to be drawn."""
        member = await self.callers.wait_for(request)
        if member.role not in (common_pb2.ROLE_LEARNER, common_pb2.ROLE_REPLAY):
            raise permission_denied(f"{request.service_id} is neither the learner nor the replay buffer")
        check_version(request.policy_version, self.run.version)
        rows = self.run.groups.open.of(request.group_ids)
        stale, fresh = too_old(rows, request.policy_version, self.run.settings.algorithm.max_staleness)
        if fresh:
            _LOG.warning("not too old: the replay buffer will say what became of them", groups=fresh)
        self.run.groups.drop_stale(stale, f"too old to be drawn at version {request.policy_version}")
        self.changes.notify(Change.PLACES)
        return controller_pb2.ReportStaleResponse()
