"""What members are told of the run, with their registration and each heartbeat: they check requests against it."""

from areal_mesh.controller.calls.parts import Parts
from areal_mesh.controller.membership import Member
from areal_mesh.v1 import common_pb2, controller_pb2


def standing_for(member: Member, parts: Parts) -> controller_pb2.RunStanding:
    """The run's standing as a member is told it; the key of the leases goes to the replay buffer alone."""
    run = parts.run
    learner = parts.roster.holder_of(common_pb2.ROLE_LEARNER)
    return controller_pb2.RunStanding(
        policy_version=run.version,
        batch_groups=run.plan.pacing.batch_groups,
        max_staleness=run.plan.pacing.max_staleness,
        learner_id="" if learner is None else learner.service_id,
        learner_incarnation="" if learner is None else learner.incarnation,
        lease_key=parts.lease_key if member.role == common_pb2.ROLE_REPLAY else b"",
    )
