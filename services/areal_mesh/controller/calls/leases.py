"""Calls about groups: lease them, end leases, report groups that were too old to be drawn."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from areal_mesh.controller.calls.claims import check_stored, check_version, too_old
from areal_mesh.controller.calls.parts import Calls, stage_message, wait_seconds
from areal_mesh.controller.changes import Change
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.membership import Member
from areal_mesh.controller.prompts import group_seed
from areal_mesh.controller.records import GroupRow, GroupState
from areal_mesh.runtime.errors import failed_precondition, invalid_argument, permission_denied
from areal_mesh.runtime.lease_seal import LeaseTerms, lease_seal
from areal_mesh.runtime.problem_lines import Problem
from areal_mesh.v1 import common_pb2, controller_pb2, rollout_pb2

_LOG = structlog.get_logger("controller")
_KEYS_KEPT = 8  # of one member: a call is sent again while it is still the newest or nearly so


class LeaseCalls(Calls):
    """Leases. None of them waits for a publish."""

    async def LeaseGroups(
        self, request: controller_pb2.LeaseGroupsRequest, context: Any
    ) -> controller_pb2.LeaseGroupsResponse:
        member = await self._member(request.service_id, request.incarnation)
        repeated = self._issued_before(member, request.idempotency_key)
        if repeated is not None:
            return self._leases(repeated)
        may, seconds = partial(self._may_lease, member.key), wait_seconds(request.wait)
        with self._parts.waiting.one_more(member.key):
            async with self._parts.leases.turn(request.max_groups, may, seconds) as groups:
                return self._issue(request, groups)

    def _issue(self, request: controller_pb2.LeaseGroupsRequest, groups: int) -> controller_pb2.LeaseGroupsResponse:
        """Leases at the end of the wait, which may have outlived this life of the member."""
        member = self._speak(request.service_id, request.incarnation)
        # Another attempt of the same call may have waited beside this one.
        repeated = self._issued_before(member, request.idempotency_key)
        if repeated is not None:
            return self._leases(repeated)
        if groups == 0:
            return self._leases([])
        read: dict[int, Problem] = {}

        def prompt_id_of(sequence: int) -> str:
            read[sequence] = self._parts.prompts.at(sequence)
            return read[sequence].prompt_id

        rows = self._run.lease(member.key, groups, prompt_id_of)
        if rows:
            keys = self._parts.issued.setdefault(member.key, OrderedDict())
            keys[request.idempotency_key] = [row.group_id for row in rows]
            while len(keys) > _KEYS_KEPT:
                keys.popitem(last=False)
        return self._leases(rows, read)

    def _issued_before(self, member: Member, idempotency_key: str) -> list[GroupRow] | None:
        """What a call with this key was given, as far as it is still leased; None where there was none."""
        issued = self._parts.issued.get(member.key, OrderedDict()).get(idempotency_key)
        if issued is None:
            return None
        return [row for row in self._run.groups.open.held_by(member.key) if row.group_id in issued]

    def _may_lease(self, holder: str) -> bool:
        """Whether a generator holds at least the published weights, and is to stay."""
        member = self._roster.find(holder)
        return (
            member is not None
            and member.role == common_pb2.ROLE_GENERATOR
            and not member.quarantined
            and member.state != common_pb2.SERVICE_STATE_DRAINING
            and member.policy_version >= self._run.published_version >= 0
        )

    def _leases(
        self, rows: Sequence[GroupRow], read: Mapping[int, Problem] | None = None
    ) -> controller_pb2.LeaseGroupsResponse:
        """The answer with these groups; `read`: problems that were read already, by sequence."""
        known = read or {}
        leases = [self._lease(row, known.get(row.sequence) or self._parts.prompts.at(row.sequence)) for row in rows]
        return controller_pb2.LeaseGroupsResponse(leases=leases, finished=self._run.over and not rows)

    def _lease(self, row: GroupRow, problem: Problem) -> controller_pb2.Lease:
        algorithm = self._parts.settings.algorithm
        stage = stage_message(self._run.plan.stages, row.stage)
        return controller_pb2.Lease(
            group_id=row.group_id,
            sequence=row.sequence,
            prompt=rollout_pb2.Prompt(
                prompt_id=problem.prompt_id,
                problem=problem.problem,
                gold_answers=problem.gold_answers,
                source=problem.source,
            ),
            sampling=rollout_pb2.Sampling(
                responses=algorithm.responses,
                temperature=algorithm.temperature,
                top_p=algorithm.top_p,
                max_response_tokens=stage.max_response_tokens,
                seed=group_seed(self._parts.settings.seed, row.sequence),
            ),
            stage=stage,
            attempt=row.attempt,
            seal=lease_seal(self._parts.lease_key, self._terms(row, stage)),
        )

    def _terms(self, row: GroupRow, stage: common_pb2.Stage) -> LeaseTerms:
        algorithm = self._parts.settings.algorithm
        return LeaseTerms(
            group_id=row.group_id,
            sequence=row.sequence,
            prompt_id=row.prompt_id,
            stage=stage.index,
            max_response_tokens=stage.max_response_tokens,
            responses=algorithm.responses,
            temperature=algorithm.temperature,
        )

    async def EndLease(self, request: controller_pb2.EndLeaseRequest, context: Any) -> controller_pb2.EndLeaseResponse:
        member = await self._member(request.service_id, request.incarnation)
        if member.role != common_pb2.ROLE_GENERATOR:
            raise permission_denied(f"{request.service_id} is not registered as a generator")
        holder, groups = member.key, self._run.groups
        if request.end == controller_pb2.LEASE_END_STORED:
            await self._store(request, holder)
            self._changes.notify()  # what is stored keeps its place
            return controller_pb2.EndLeaseResponse()
        if request.end == controller_pb2.LEASE_END_FILTERED:
            groups.filter(holder, request.group_id, request.reason)
        elif request.end == controller_pb2.LEASE_END_FAILED:
            groups.fail(holder, request.group_id, request.reason)
        elif request.end == controller_pb2.LEASE_END_RETURNED:
            groups.give_back(holder, [request.group_id])
        else:
            raise invalid_argument("end", "say how the lease ended: stored, filtered, failed or returned")
        self._changes.notify(Change.PLACES)
        return controller_pb2.EndLeaseResponse()

    async def _store(self, request: controller_pb2.EndLeaseRequest, holder: str) -> None:
        """A group that its holder stored; of one leased to another, or to nobody, the replay buffer has to know."""
        row = self._run.groups.row(request.group_id)
        check_stored(request, row, self._run.version, self._parts.settings)
        foreign = row.state is GroupState.RUNNING and row.holder != holder
        if foreign and not await self._parts.replay.holds(request.group_id):
            raise failed_precondition(f"{request.group_id} is not leased to {request.service_id}, and is not stored")
        figures = StoredFigures(request.oldest_policy_version, request.response_tokens)
        self._run.groups.store(request.group_id, figures)

    async def ReportStale(
        self, request: controller_pb2.ReportStaleRequest, context: Any
    ) -> controller_pb2.ReportStaleResponse:
        member = await self._member(request.service_id, request.incarnation)
        if member.role not in (common_pb2.ROLE_LEARNER, common_pb2.ROLE_REPLAY):
            raise permission_denied(f"{request.service_id} is neither the learner nor the replay buffer")
        check_version(request.policy_version, self._run.version)
        rows = self._run.groups.open.of(request.group_ids)
        stale, fresh = too_old(rows, request.policy_version, self._run.plan.pacing.max_staleness)
        if fresh:
            _LOG.warning("not too old: the replay buffer will say what became of them", groups=fresh)
        self._run.groups.drop_stale(stale, f"too old to be drawn at version {request.policy_version}")
        self._changes.notify(Change.PLACES)
        return controller_pb2.ReportStaleResponse()
