"""Calls of members about themselves: register, heartbeat, deregister, and where others are."""

from typing import Any

import structlog
from google.protobuf.duration_pb2 import Duration

from areal_mesh.controller.calls.claims import check_version
from areal_mesh.controller.calls.parts import Calls
from areal_mesh.controller.calls.standing import standing_for
from areal_mesh.controller.changes import Change, arrival
from areal_mesh.controller.faults import FaultKind, Hold
from areal_mesh.controller.membership import Introduction, Member, heartbeat_seconds, holder_key
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import aborted, failed_precondition, invalid_argument
from areal_mesh.runtime.identity import RunIdentity, role_name
from areal_mesh.v1 import common_pb2, controller_pb2

_LOG = structlog.get_logger("controller")
_OfARun = controller_pb2.AnnounceRequest | controller_pb2.RegisterRequest | controller_pb2.DeregisterRequest
_MEMBER_ROLES = (common_pb2.ROLE_GENERATOR, common_pb2.ROLE_VERIFIER, common_pb2.ROLE_REPLAY, common_pb2.ROLE_LEARNER)


class MemberCalls(Calls):
    """Membership."""

    async def Announce(self, request: controller_pb2.AnnounceRequest, context: Any) -> controller_pb2.AnnounceResponse:
        self._same_run(request)
        arrivals = self._parts.arrivals
        if self._needs(request.role):
            if not self._roster.knows(request.service_id, request.incarnation):
                arrivals.announced(request.service_id)
            return controller_pb2.AnnounceResponse(over=False)
        _LOG.info("came to a run that is over", member=request.service_id)
        arrivals.settled(request.service_id)
        # Its earlier life, if it was a member, has ended without a word.
        if self._roster.remove_earlier(request.service_id, request.incarnation) is not None:
            self._changes.notify(Change.MEMBERS)
        return controller_pb2.AnnounceResponse(over=True)

    def _needs(self, role: common_pb2.Role.ValueType) -> bool:
        """Whether a service that starts now has something left to do.

        After the end of the run a learner that was killed comes back for its last checkpoint and export, and draws
        from the replay buffer meanwhile; a generator may take the last version; while one lives it is graded for.
        """
        if not self._run.over:
            return True
        generating = self._roster.any_live(common_pb2.ROLE_GENERATOR)
        if role == common_pb2.ROLE_LEARNER:
            return not self._run.learner_gone
        if role == common_pb2.ROLE_REPLAY:
            return not self._run.learner_gone or generating
        if role == common_pb2.ROLE_VERIFIER:
            return generating
        return not self._run.stopping and self._run.publish_due() and self._parts.learner_stays

    async def Register(self, request: controller_pb2.RegisterRequest, context: Any) -> controller_pb2.RegisterResponse:
        if request.role not in _MEMBER_ROLES:
            raise invalid_argument("role", "expected the role of a generator, verifier, replay buffer or learner")
        self._same_run(request)
        self._check_claims(request)
        self._roster.check_room(request.service_id, request.role)
        key = holder_key(request.service_id, request.incarnation)
        new_life = self._run.note_member(key, request.service_id, role_name(request.role), request.address)
        introduction = Introduction(
            service_id=request.service_id,
            incarnation=request.incarnation,
            role=request.role,
            address=request.address,
            policy_version=request.policy_version,
            transfer_ranks=request.transfer_ranks,
        )
        replaced = self._roster.register(introduction, self._parts.clock.monotonic(), new_life)
        if replaced is not None:
            self._run.groups.free(replaced.key, "its generator was restarted")
            self._parts.issued.pop(replaced.key, None)
        _LOG.info("registered", member=request.service_id, address=request.address, version=request.policy_version)
        member = self._roster.speak(request.service_id, request.incarnation, self._parts.clock.monotonic())
        self._fault(request.service_id, FaultKind.START, "")
        self._fault(request.service_id, FaultKind.SAID, "")
        self._parts.joined(member)
        self._parts.arrivals.settled(request.service_id)
        self._changes.notify(Change.MEMBERS, Change.PLACES, arrival(key))
        return controller_pb2.RegisterResponse(
            run_name=self._run.plan.name,
            heartbeat_interval=self._interval(),
            lease=to_duration(self._settings.lease_seconds),
            policy_version=self._run.version,
            step=self._run.version,
            standing=standing_for(member, self._parts),
        )

    def _fault(self, service_id: str, kind: FaultKind, text: str, hold: Hold = Hold.NOTHING) -> None:
        """Takes in what is wrong with a service; empty: nothing any more."""
        if self._run.faults.put(service_id, kind, text, hold, self._parts.clock.monotonic()):
            if text:
                _LOG.error("fault", member=service_id, what=text)
            else:
                _LOG.info("fault gone", member=service_id)
            self._changes.notify(Change.STATE, Change.PLACES)

    def _check_claims(self, request: controller_pb2.RegisterRequest) -> None:
        section = self._parts.settings.generator
        is_generator = request.role == common_pb2.ROLE_GENERATOR
        ranks = section.tensor_parallel_size * section.data_parallel_size if is_generator else 0
        if request.transfer_ranks != ranks:
            raise invalid_argument(
                "transfer_ranks",
                f"{request.transfer_ranks}; a {role_name(request.role)} of this run adds {ranks} to a broadcast",
            )
        check_version(request.policy_version, self._newest(request.role))

    def _newest(self, role: common_pb2.Role.ValueType) -> int:
        """The newest version that a member can hold; the learner's commit may be on its way."""
        return self._run.version + (role == common_pb2.ROLE_LEARNER)

    def _same_run(self, request: _OfARun) -> None:
        """Refuses a service of another run, which would take the place of this run's service of its name."""
        mine, theirs = self._parts.identity, RunIdentity(request.run_name, request.run_id)
        if mine.differs_from(theirs):
            _LOG.warning("refused: of another run", member=request.service_id, run=str(theirs))
            raise failed_precondition(
                f"it serves the run {mine}, and {request.service_id} belongs to {theirs}; give each run a "
                "controller.listen of its own, and its services that address with --controller"
            )

    async def Heartbeat(
        self, request: controller_pb2.HeartbeatRequest, context: Any
    ) -> controller_pb2.HeartbeatResponse:
        now = self._parts.clock.monotonic()
        member = self._speak(request.service_id, request.incarnation)
        if member.quarantined:
            raise aborted(
                f"{request.service_id}: its weights differ from the learner's; end this process and start another"
            )
        check_version(request.policy_version, self._newest(member.role))
        news = (member.state, member.policy_version)
        if request.state not in (common_pb2.SERVICE_STATE_UNSPECIFIED, common_pb2.SERVICE_STATE_LOST):
            member.state = request.state
        self._roster.reports(member, request.policy_version)
        member.rate, member.rate_unit = request.rate, request.rate_unit
        member.progress_at = now - request.seconds_since_progress
        member.metrics = dict(request.metrics)
        self._fault(member.service_id, FaultKind.SAID, request.fault, Hold.ADMISSION)
        lost = self._run.groups.renew(member.key, request.group_ids)
        if news != (member.state, member.policy_version):
            self._changes.notify(Change.MEMBERS)
        else:
            self._changes.notify()
        return controller_pb2.HeartbeatResponse(
            drain=self._drains(member),
            lost_group_ids=lost,
            interval=self._interval(),
            standing=standing_for(member, self._parts),
        )

    def _interval(self) -> Duration:
        settings = self._settings
        return to_duration(heartbeat_seconds(len(self._roster), settings.heartbeat_seconds, settings.lease_seconds))

    def _drains(self, member: Member) -> bool:
        """At the end of the run members leave in this order, so that each finishes what it holds.

        Generators once the last version is published to them, before the verifiers that grade for them; the learner,
        once it holds that version, before the replay buffer it draws from. Where the learner has left, no version
        will come any more; one that was killed comes back for its last checkpoint and export.
        """
        if not self._run.over:
            return False
        if member.role == common_pb2.ROLE_VERIFIER:
            return not self._roster.any_live(common_pb2.ROLE_GENERATOR)
        if member.role == common_pb2.ROLE_REPLAY:
            return not (self._parts.learner_stays or self._roster.any_live(common_pb2.ROLE_GENERATOR))
        if member.role == common_pb2.ROLE_LEARNER:
            return self._run.stopping or member.policy_version >= self._run.version
        awaited = self._run.publish_due() and self._parts.learner_stays
        return self._run.stopping or not awaited

    async def Deregister(
        self, request: controller_pb2.DeregisterRequest, context: Any
    ) -> controller_pb2.DeregisterResponse:
        key = holder_key(request.service_id, request.incarnation)
        if request.fault:
            self._same_run(request)
            self._fault(request.service_id, FaultKind.START, f"cannot start: {request.fault}")
        member = self._roster.remove(request.service_id, request.incarnation)
        if member is not None:
            if member.role == common_pb2.ROLE_LEARNER and self._run.over:
                self._run.learner_left()
            self._fault(request.service_id, FaultKind.SAID, "")
            _LOG.info("left", member=request.service_id, reason=request.reason)
        self._run.groups.give_back(key)
        self._parts.issued.pop(key, None)
        self._changes.notify(Change.MEMBERS, Change.PLACES)
        return controller_pb2.DeregisterResponse()

    async def FindMembers(
        self, request: controller_pb2.FindMembersRequest, context: Any
    ) -> controller_pb2.FindMembersResponse:
        found = self._roster.of_role(request.role)
        return controller_pb2.FindMembersResponse(
            members=[
                controller_pb2.Member(
                    service_id=member.service_id,
                    address=member.address,
                    state=member.state,
                    transfer_ranks=member.transfer_ranks,
                )
                for member in found
                if member.state != common_pb2.SERVICE_STATE_STOPPED
            ]
        )
