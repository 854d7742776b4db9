"""Calls of services about their membership: announce, register, deregister, and where others are."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from areal_mesh.controller.arrivals import Arrivals
from areal_mesh.controller.calls.briefing import Briefing
from areal_mesh.controller.calls.claims import check_transfer_ranks, check_version, newest_version
from areal_mesh.controller.calls.issued import IssuedLeases
from areal_mesh.controller.changes import Change, Changes, arrival
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.departures import Departures
from areal_mesh.controller.fault_reports import FaultReports
from areal_mesh.controller.faults import FaultKind
from areal_mesh.controller.member import Introduction, Member, holder_key
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.run import Run
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import failed_precondition, invalid_argument
from areal_mesh.runtime.identity import RunIdentity, role_name
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import common_pb2, controller_pb2

_LOG = structlog.get_logger("controller")
_OfARun = controller_pb2.AnnounceRequest | controller_pb2.RegisterRequest | controller_pb2.DeregisterRequest
_MEMBER_ROLES = (common_pb2.ROLE_GENERATOR, common_pb2.ROLE_VERIFIER, common_pb2.ROLE_REPLAY, common_pb2.ROLE_LEARNER)


@dataclass(frozen=True)
class MemberCalls:
    """Membership.

    Args:
        identity: the run that this controller serves.
        joined: called when a member has registered, before it is answered.
    """

    run: Run
    identity: RunIdentity
    settings: RunSettings
    roster: Roster
    arrivals: Arrivals
    departures: Departures
    issued: IssuedLeases
    briefing: Briefing
    faults: FaultReports
    changes: Changes
    clock: Clock
    joined: Callable[[Member], None]

    async def announce(self, request: controller_pb2.AnnounceRequest) -> controller_pb2.AnnounceResponse:
        """Takes in that a service starts; tells it where the run needs it no more."""
        self._check_same_run(request)
        if self.departures.needed(request.role):
            if not self.roster.knows(request.service_id, request.incarnation):
                self.arrivals.announced(request.service_id)
            return controller_pb2.AnnounceResponse(over=False)
        _LOG.info("came to a run that is over", member=request.service_id)
        self.arrivals.settled(request.service_id)
        # Its earlier life, if it was a member, has ended without a word.
        if self.roster.remove_earlier(request.service_id, request.incarnation) is not None:
            self.changes.notify(Change.MEMBERS)
        return controller_pb2.AnnounceResponse(over=True)

    async def register(self, request: controller_pb2.RegisterRequest) -> controller_pb2.RegisterResponse:
        """Makes a service a member; frees what an earlier life of it held."""
        self._check_claims(request)
        self.roster.check_room(request.service_id, request.role)
        key = holder_key(request.service_id, request.incarnation)
        new_life = self.run.note_member(key, request.service_id, role_name(request.role), request.address)
        replaced = self.roster.register(_introduction(request), self.clock.monotonic(), new_life)
        if replaced is not None:
            self.run.groups.free(replaced.key, "its generator was restarted")
            self.issued.forget(replaced.key)
        _LOG.info("registered", member=request.service_id, address=request.address, version=request.policy_version)
        member = self.roster.speak(request.service_id, request.incarnation, self.clock.monotonic())
        self.faults.put(request.service_id, FaultKind.START)
        self.faults.put(request.service_id, FaultKind.SAID)
        self.joined(member)
        self.arrivals.settled(request.service_id)
        self.changes.notify(Change.MEMBERS, Change.PLACES, arrival(key))
        return controller_pb2.RegisterResponse(
            run_name=self.run.settings.name,
            heartbeat_interval=self.briefing.interval(),
            lease=to_duration(self.settings.controller.lease_seconds),
            policy_version=self.run.version,
            step=self.run.version,
            standing=self.briefing.standing_for(member),
        )

    def _check_claims(self, request: controller_pb2.RegisterRequest) -> None:
        if request.role not in _MEMBER_ROLES:
            raise invalid_argument("role", "expected the role of a generator, verifier, replay buffer or learner")
        self._check_same_run(request)
        check_transfer_ranks(request, self.settings.generator)
        check_version(request.policy_version, newest_version(request.role, self.run.version))

    def _check_same_run(self, request: _OfARun) -> None:
        """Refuses a service of another run, which would take the place of this run's service of its name."""
        theirs = RunIdentity(request.run_name, request.run_id)
        if self.identity.differs_from(theirs):
            _LOG.warning("refused: of another run", member=request.service_id, run=str(theirs))
            raise failed_precondition(
                f"it serves the run {self.identity}, and {request.service_id} belongs to {theirs}; give each run a "
                "controller.listen of its own, and its services that address with --controller"
            )

    async def deregister(self, request: controller_pb2.DeregisterRequest) -> controller_pb2.DeregisterResponse:
        """Takes out a member that leaves, or takes in why a service could not start; frees what it held."""
        if request.fault:
            self._check_same_run(request)
            self.faults.put(request.service_id, FaultKind.START, f"cannot start: {request.fault}")
        member = self.roster.remove(request.service_id, request.incarnation)
        if member is not None:
            if member.role == common_pb2.ROLE_LEARNER and self.run.over:
                self.run.learner_left()
            self.faults.put(request.service_id, FaultKind.SAID)
            _LOG.info("left", member=request.service_id, reason=request.reason)
        key = holder_key(request.service_id, request.incarnation)
        self.run.groups.give_back(key)
        self.issued.forget(key)
        self.changes.notify(Change.MEMBERS, Change.PLACES)
        return controller_pb2.DeregisterResponse()

    async def find(self, request: controller_pb2.FindMembersRequest) -> controller_pb2.FindMembersResponse:
        """Where the members of a role are."""
        found = self.roster.of_role(request.role)
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


def _introduction(request: controller_pb2.RegisterRequest) -> Introduction:
    return Introduction(
        service_id=request.service_id,
        incarnation=request.incarnation,
        role=request.role,
        address=request.address,
        policy_version=request.policy_version,
        transfer_ranks=request.transfer_ranks,
    )
