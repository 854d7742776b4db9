"""The learner as a service: the trainer on a thread of its own, the loop that feeds it, the weight sender."""

import asyncio
import time

import grpc.aio
import structlog

from areal_mesh.learner.checkpoint_schedule import Checkpoints
from areal_mesh.learner.loop import TrainingLoop
from areal_mesh.learner.model.finite import NotFinite
from areal_mesh.learner.model.policy import UnusableModel
from areal_mesh.learner.places import RanksNotPlaced
from areal_mesh.learner.ranks import RankLeader, start_ranks
from areal_mesh.learner.snapshots import WeightSnapshots
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.learner.weight_sender import WeightSenderServicer
from areal_mesh.runtime.calling import Members, MemberUnreachable, Patience
from areal_mesh.runtime.errors import CannotGoOn, StartupError, unavailable
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.telemetry import note_phase
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, learner_pb2, learner_pb2_grpc

_LOG = structlog.get_logger("learner")
_FIND = Patience(attempt_seconds=5.0, unreachable_seconds=10.0)


def build(context: ServiceContext) -> "LearnerService":
    """The learner of a run."""
    return LearnerService(context)


class LearnerService:
    """Thin: builds the parts, and says how they are."""

    transfer_ranks = 0

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._torch = TorchThread()
        self._members = Members(context.controller, context.identity)
        self._leader: RankLeader | None = None
        self._loop: TrainingLoop | None = None
        self._checkpoints: Checkpoints | None = None
        self._ended_well = False
        transport = context.settings.weights.transport
        self._snapshots = WeightSnapshots(
            self._started_leader, self._torch, transport.bucket_mib << 20, shared=transport.lends
        )
        self._weight_sender = WeightSenderServicer(
            context.settings, self._started_leader, self._snapshots, self._engine_ranks, context.standing
        )

    def _started_leader(self) -> RankLeader:
        assert self._leader is not None, "the learner has not started"
        return self._leader

    async def _engine_ranks(self) -> int:
        """Ranks of the generators that the controller knows now."""
        request = controller_pb2.FindMembersRequest(role=common_pb2.ROLE_GENERATOR)

        async def send(channel: grpc.aio.Channel, seconds: float) -> controller_pb2.FindMembersResponse:
            stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
            return await stub.FindMembers(request, timeout=seconds)

        try:
            found = await self._members.call("controller", send, _FIND)
        except (MemberUnreachable, grpc.aio.AioRpcError) as error:
            raise unavailable("the controller does not say how many generators there are; try again") from error
        return sum(member.transfer_ranks for member in found.members)

    def attach(self, server: MeshServer) -> None:
        """Adds LearnerService."""
        name = learner_pb2.DESCRIPTOR.services_by_name["LearnerService"].full_name
        server.add(learner_pb2_grpc.add_LearnerServiceServicer_to_server, self._weight_sender, name)

    async def start(self) -> None:
        """Loads the policy, or the latest checkpoint of the run. Raises StartupError where the model cannot be used."""
        settings = self._context.settings
        note_phase("loading weights")
        try:
            self._leader = await self._torch.run(lambda: start_ranks(settings))
        except UnusableModel as error:
            raise StartupError(f"model.folder = {error}") from error
        except RanksNotPlaced as error:
            raise StartupError(str(error)) from error
        checkpoints = self._checkpoints = Checkpoints(
            settings, self._context.identity, self._leader, self._members, self._torch
        )
        await self._snapshots.take()
        _LOG.info("ready", version=self._leader.policy_version, restored=self._leader.restored is not None)
        self._loop = TrainingLoop(self._context, self._members, self._leader, self._snapshots, checkpoints, self._torch)

    async def run(self, draining: asyncio.Event) -> None:
        """Trains until the run is finished or the service drains.

        Raises CannotGoOn where the model leaves the range of its arithmetic: the same batch would do it again.
        """
        assert self._loop is not None
        try:
            await self._loop.run(draining)
        except NotFinite as error:
            raise CannotGoOn(str(error)) from error
        self._ended_well = True

    def report(self) -> HeartbeatReport:
        """Version, tokens trained a second, totals. Raises RuntimeError when another rank has ended."""
        if self._leader is None or self._loop is None:
            return HeartbeatReport(state=common_pb2.SERVICE_STATE_STARTING)
        self._leader.check_followers()
        draining = self._context.draining.is_set()
        return HeartbeatReport(
            state=common_pb2.SERVICE_STATE_DRAINING if draining else common_pb2.SERVICE_STATE_SERVING,
            policy_version=self._leader.policy_version,
            rate=self._loop.tokens_per_second,
            rate_unit="tokens",
            seconds_since_progress=time.monotonic() - self._loop.last_progress,
            metrics={
                "tokens_trained": float(self._loop.tokens_trained),
                "bytes_published": float(self._weight_sender.sent_bytes),
                "checkpoint_copies_failed": float(self._leader.copies_failed),
            },
            fault=self._checkpoints.fault if self._checkpoints is not None else "",
        )

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """A learner holds no leases."""

    async def close(self) -> None:
        """Ends the ranks, an open transfer, and the channels."""
        self._weight_sender.close()
        if self._leader is not None:
            if self._ended_well:
                await self._torch.run(self._leader.stop)
            else:
                # The torch thread may hang in a collective that a dead rank never joins.
                self._leader.kill_followers()
        await self._members.close()
        self._torch.close()
