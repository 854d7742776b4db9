"""A batch before it is trained on: what cannot be trained or committed is set aside by name, and the step drawn again.

The controller hears first: it ends the groups as filtered, with the reason. Then the replay buffer gives their places
in the batch to others. Killed in between, a learner finds and says the same again.
"""

from collections.abc import Sequence

import grpc.aio
import structlog

from areal_mesh.learner.batches.vetting import unusable_groups
from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.calling import Members, Patience
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.text import plain_text
from areal_mesh.v1 import (
    controller_pb2,
    controller_pb2_grpc,
    replay_pb2,
    replay_pb2_grpc,
    rollout_pb2,
)

_LOG = structlog.get_logger("learner")
_CALL = Patience(attempt_seconds=30.0)


class BatchCheck:
    """Asks the trainer and the run about each group of a batch."""

    def __init__(self, identity: Identity, members: Members, leader: RankLeader, torch: TorchThread) -> None:
        self._identity = identity
        self._members = members
        self._leader = leader
        self._torch = torch

    async def passes(self, step: int, groups: Sequence[rollout_pb2.Group]) -> bool:
        """Whether the batch can be trained on and committed; if not, its unusable groups are set aside."""
        leader = self._leader
        reasons = await self._torch.run(lambda: unusable_groups(groups, leader.vocabulary_size, leader.policy_version))
        unusable = await self._ask(step, groups, reasons)
        if not unusable:
            return True
        _LOG.error("groups that cannot be trained on are set aside", step=step, groups=unusable)
        await self._set_aside(step, list(unusable))
        return False

    async def _ask(self, step: int, groups: Sequence[rollout_pb2.Group], reasons: dict[str, str]) -> dict[str, str]:
        """Tells the run what the trainer cannot take; returns that, and what cannot be committed."""
        request = controller_pb2.CheckBatchRequest(
            service_id=self._identity.service_id,
            incarnation=self._identity.incarnation,
            step=step,
            group_ids=[group.group_id for group in groups],
            unusable=[
                controller_pb2.UnusableGroup(group_id=group_id, reason=plain_text(reason))
                for group_id, reason in reasons.items()
            ],
        )

        async def send(channel: grpc.aio.Channel, seconds: float) -> controller_pb2.CheckBatchResponse:
            stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
            return await stub.CheckBatch(request, timeout=seconds)

        response = await self._members.call("controller", send, _CALL)
        return {group.group_id: group.reason for group in response.unusable}

    async def _set_aside(self, step: int, group_ids: list[str]) -> None:
        request = replay_pb2.SetAsideRequest(
            service_id=self._identity.service_id,
            incarnation=self._identity.incarnation,
            step=step,
            group_ids=group_ids,
        )

        async def send(channel: grpc.aio.Channel, seconds: float) -> None:
            stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(channel)
            await stub.SetAside(request, timeout=seconds)

        await self._members.call("replay", send, _CALL)
