"""What callers ask of the log, held against the run's word: who draws, which step, how many groups, what is released.

Where a caller knows more than the controller has said here yet, its next heartbeats are waited for.
"""

from dataclasses import dataclass

from areal_mesh.runtime.errors import aborted, failed_precondition, invalid_argument, unavailable
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.v1 import controller_pb2, replay_pb2

# So many steps may be committed between two heartbeats: a draw that waited for one each time would hold a fast run up.
_UNHEARD_STEPS = 16

LearnersRequest = replay_pb2.DrawBatchRequest | replay_pb2.SetAsideRequest | replay_pb2.ReleaseStepsRequest


@dataclass(frozen=True)
class CallerChecks:
    """Checks of requests against the run's standing."""

    standing: HeardStanding

    async def lease_key(self) -> bytes:
        """The key of the run's leases. Raises UNAVAILABLE while the controller has not given it."""
        return _heard(await self.standing.when(lambda said: bool(said.lease_key))).lease_key

    async def drawing(self, request: replay_pb2.DrawBatchRequest) -> None:
        """A draw: by the learner, of the step that is due, as large and as fresh as the run's batches.

        Raises:
            MeshError: ABORTED for another caller, FAILED_PRECONDITION for a step to come, INVALID_ARGUMENT.
        """
        said = await self._learner(request)
        if request.step > said.policy_version + _UNHEARD_STEPS:
            said = _heard(await self.standing.when(lambda now: request.step <= now.policy_version + 1))
            if request.step > said.policy_version + 1:
                raise failed_precondition(
                    f"step {request.step} is not due: {said.policy_version} steps of this run are committed"
                )
        for field, asked, own in (
            ("batch_groups", request.batch_groups, said.batch_groups),
            ("max_staleness", request.max_staleness, said.max_staleness),
            ("policy_version", request.policy_version, request.step - 1),
        ):
            if asked != own:
                raise invalid_argument(field, f"{asked}; step {request.step} of this run is drawn with {own}")

    async def setting_aside(self, request: replay_pb2.SetAsideRequest) -> None:
        """Groups to be set aside: by the learner, of a step that is not committed. Raises MeshError."""
        said = await self._learner(request)
        if request.step <= said.policy_version:
            raise failed_precondition(f"step {request.step} is committed: the weights hold its groups")

    async def releasing(self, request: replay_pb2.ReleaseStepsRequest) -> None:
        """A release: by the learner, of committed steps. Raises ABORTED or FAILED_PRECONDITION."""
        await self._learner(request)
        said = _heard(await self.standing.when(lambda now: request.step <= now.policy_version))
        if request.step > said.policy_version:
            raise failed_precondition(
                f"step {request.step} cannot be released: {said.policy_version} steps of this run are committed"
            )

    async def evicting(self, request: replay_pb2.EvictStaleRequest, drawn_step: int) -> None:
        """An eviction: at a version that exists, with the run's bound. `drawn_step`: the last whose batch was drawn."""
        said = _heard(await self.standing.when(lambda now: True))
        if request.max_staleness != said.max_staleness:
            raise invalid_argument("max_staleness", f"{request.max_staleness}; the run's is {said.max_staleness}")
        if not await self.version_exists(request.policy_version, drawn_step):
            raise failed_precondition(f"version {request.policy_version} was not made in this run yet")

    async def version_exists(self, version: int, drawn_step: int) -> bool:
        """Whether the run can have made a version: its step was drawn here, or the controller says so."""
        if version <= drawn_step:
            return True
        said = _heard(await self.standing.when(lambda now: version <= now.policy_version))
        return version <= said.policy_version

    async def _learner(self, request: LearnersRequest) -> controller_pb2.RunStanding:
        caller = (request.service_id, request.incarnation)
        said = _heard(await self.standing.when(lambda now: (now.learner_id, now.learner_incarnation) == caller))
        if (said.learner_id, said.learner_incarnation) != caller:
            raise aborted(f"{request.service_id} is not, or not in this life, the learner of the run")
        return said


def _heard(said: controller_pb2.RunStanding | None) -> controller_pb2.RunStanding:
    if said is None:
        raise unavailable("the replay buffer has not heard from the controller yet")
    return said
