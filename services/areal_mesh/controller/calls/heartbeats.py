"""The call of members that live: what they do, and which leases they still work on."""

from dataclasses import dataclass

from areal_mesh.controller.calls.briefing import Briefing
from areal_mesh.controller.calls.callers import Callers
from areal_mesh.controller.calls.claims import check_version, newest_version
from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.departures import Departures
from areal_mesh.controller.fault_reports import FaultReports
from areal_mesh.controller.faults import FaultKind, Hold
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.run import Run
from areal_mesh.runtime.errors import aborted
from areal_mesh.v1 import common_pb2, controller_pb2

# A service does not say these of itself.
_UNSAID = (common_pb2.SERVICE_STATE_UNSPECIFIED, common_pb2.SERVICE_STATE_LOST)


@dataclass(frozen=True)
class HeartbeatCalls:
    """Heartbeats. None of them waits."""

    run: Run
    roster: Roster
    callers: Callers
    departures: Departures
    briefing: Briefing
    faults: FaultReports
    changes: Changes
    clock: Clock

    async def beat(self, request: controller_pb2.HeartbeatRequest) -> controller_pb2.HeartbeatResponse:
        """Takes in what a member says of itself, and tells it what it lost and whether to leave."""
        now = self.clock.monotonic()
        member = self.callers.of(request)
        if member.quarantined:
            raise aborted(
                f"{request.service_id}: its weights differ from the learner's; end this process and start another"
            )
        check_version(request.policy_version, newest_version(member.role, self.run.version))
        before = (member.state, member.policy_version)
        if request.state not in _UNSAID:
            member.state = request.state
        self.roster.reports(member, request.policy_version)
        member.rate, member.rate_unit = request.rate, request.rate_unit
        member.progress_at = now - request.seconds_since_progress
        member.metrics = dict(request.metrics)
        self.faults.put(member.service_id, FaultKind.SAID, request.fault, Hold.ADMISSION)
        lost = self.run.groups.renew(member.key, request.group_ids)
        if before != (member.state, member.policy_version):
            self.changes.notify(Change.MEMBERS)
        else:
            self.changes.notify()
        return controller_pb2.HeartbeatResponse(
            drain=self.departures.drains(member),
            lost_group_ids=lost,
            interval=self.briefing.interval(),
            standing=self.briefing.standing_for(member),
        )
