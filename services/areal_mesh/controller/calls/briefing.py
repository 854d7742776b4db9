"""What members are told of the run, with their registration and each heartbeat."""

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster, heartbeat_seconds
from areal_mesh.controller.run import Run
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.settings import ControllerSettings
from areal_mesh.v1 import common_pb2, controller_pb2

_ENDS_OF_TRANSFERS = (common_pb2.ROLE_LEARNER, common_pb2.ROLE_GENERATOR)


@dataclass(frozen=True)
class Briefing:
    """How the run stands, and how often to say that one lives.

    Args:
        lease_key: with what leases are sealed.
        transfer_key: by what transfers of weights are obeyed.
    """

    run: Run
    roster: Roster
    settings: ControllerSettings
    lease_key: bytes
    transfer_key: bytes

    def standing_for(self, member: Member) -> controller_pb2.RunStanding:
        """The run's standing, against which members check requests; each key goes to those who check by it."""
        algorithm = self.run.settings.algorithm
        learner = self.roster.holder_of(common_pb2.ROLE_LEARNER)
        return controller_pb2.RunStanding(
            policy_version=self.run.version,
            batch_groups=algorithm.batch_groups,
            max_staleness=algorithm.max_staleness,
            learner_id="" if learner is None else learner.service_id,
            learner_incarnation="" if learner is None else learner.incarnation,
            lease_key=self.lease_key if member.role == common_pb2.ROLE_REPLAY else b"",
            transfer_key=self.transfer_key if member.role in _ENDS_OF_TRANSFERS else b"",
        )

    def interval(self) -> Duration:
        """Time until the next heartbeat."""
        settings = self.settings
        return to_duration(heartbeat_seconds(len(self.roster), settings.heartbeat_seconds, settings.lease_seconds))
