"""Members of a mesh that keep the controller's protocol without models."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import aborted
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.transfer_key import require_transfer_key
from areal_mesh.v1 import (
    common_pb2,
    controller_pb2,
    controller_pb2_grpc,
    generator_pb2,
    generator_pb2_grpc,
    learner_pb2,
    learner_pb2_grpc,
    replay_pb2,
    replay_pb2_grpc,
    weights_pb2,
)

SECONDS = 10.0
STORED = controller_pb2.LEASE_END_STORED


Stub: TypeAlias = "controller_pb2_grpc.ControllerServiceAsyncStub"


@dataclass
class Peer:
    """What every member does: serve, register, call."""

    role: str
    name: str
    stack: AsyncExitStack
    version: int = -1
    state: common_pb2.ServiceState.ValueType = common_pb2.SERVICE_STATE_UNSPECIFIED
    run: RunIdentity = field(default_factory=lambda: RunIdentity("mesh"))
    standing: HeardStanding = field(default_factory=HeardStanding)
    identity: Identity = field(init=False)
    stub: Stub = field(init=False)
    address: str = ""

    def __post_init__(self) -> None:
        self.identity = Identity(self.role, self.name)

    async def die(self) -> None:
        """Stops serving at once, as a killed process does."""
        await self.server.stop(0)

    async def serve(self, register: Callable[[Any, Any], None], full_name: str) -> None:
        self.server = MeshServer("127.0.0.1:0")
        self.server.add(register, self, full_name)
        self.address = f"127.0.0.1:{await self.server.start()}"
        self.stack.push_async_callback(self.server.stop, 0)

    async def join(self, address: str) -> controller_pb2.RegisterResponse:
        channel = open_channel(address, self.identity)
        self.stack.push_async_callback(channel.close)
        self.stub = controller_pb2_grpc.ControllerServiceStub(channel)
        request = controller_pb2.RegisterRequest(
            **self.me(),
            role=self.identity.role_number,
            address=self.address or "127.0.0.1:1",
            policy_version=self.version,
            transfer_ranks=1 if self.role == "generator" else 0,
            run_name=self.run.name,
            run_id=self.run.run_id,
        )
        response = await self.stub.Register(request, timeout=SECONDS)
        self.standing.hear(response.standing)
        return response

    def me(self) -> dict[str, Any]:
        return {"service_id": self.identity.service_id, "incarnation": self.identity.incarnation}

    async def beat(self, *group_ids: str) -> controller_pb2.HeartbeatResponse:
        request = controller_pb2.HeartbeatRequest(
            **self.me(), policy_version=self.version, group_ids=group_ids, state=self.state
        )
        response = await self.stub.Heartbeat(request, timeout=SECONDS)
        self.standing.hear(response.standing)
        return response

    async def obey(self, request: Any) -> None:
        """Obeys a transfer of the controller alone, as every member does."""
        await require_transfer_key(self.standing, request.transfer_key)

    async def leave(self) -> None:
        await self.stub.Deregister(controller_pb2.DeregisterRequest(**self.me()), timeout=SECONDS)


@dataclass
class Generator(Peer, generator_pb2_grpc.GeneratorServiceServicer):
    digest: str = "same"
    hashes: bool = True
    """Whether digests can be computed; if not, the weights are in and the call fails."""
    refuses: bool = False
    may_receive: asyncio.Event = field(default_factory=asyncio.Event)
    receiving: asyncio.Event = field(default_factory=asyncio.Event)
    received: list[int] = field(default_factory=list)

    async def PrepareWeights(self, request: Any, context: Any) -> Any:
        await self.obey(request)
        if self.refuses:
            raise aborted("no room")
        return generator_pb2.PrepareWeightsResponse()

    async def ReceiveWeights(self, request: Any, context: Any) -> Any:
        await self.obey(request)
        self.receiving.set()
        await self.may_receive.wait()
        self.version = request.policy_version
        self.received.append(request.policy_version)
        if not self.hashes:
            raise aborted("digests took too long")
        tensor = weights_pb2.TensorDigest(name="w", digest=self.digest)
        return generator_pb2.ReceiveWeightsResponse(
            pause=to_duration(0.01), digests=[generator_pb2.WorkerDigests(tensors=[tensor])]
        )

    async def AbortWeights(self, request: Any, context: Any) -> Any:
        await self.obey(request)
        return generator_pb2.AbortWeightsResponse()

    async def lease(self, most: int = 8, key: str = "k", wait: float = 3.0) -> controller_pb2.LeaseGroupsResponse:
        request = controller_pb2.LeaseGroupsRequest(
            **self.me(), max_groups=most, wait=to_duration(wait), idempotency_key=key
        )
        return await self.stub.LeaseGroups(request, timeout=SECONDS)

    async def end(
        self,
        group_id: str,
        end: controller_pb2.LeaseEnd.ValueType = controller_pb2.LEASE_END_STORED,
        reason: str = "",
    ) -> None:
        request = controller_pb2.EndLeaseRequest(
            **self.me(),
            group_id=group_id,
            end=end,
            reason=reason,
            oldest_policy_version=self.version,
            response_tokens=20,
        )
        await self.stub.EndLease(request, timeout=SECONDS)


@dataclass
class Learner(Peer, learner_pb2_grpc.LearnerServiceServicer):
    async def OpenTransfer(self, request: Any, context: Any) -> Any:
        await self.obey(request)
        return learner_pb2.OpenTransferResponse(
            manifest=weights_pb2.WeightManifest(
                policy_version=self.version,
                tensors=[weights_pb2.TensorSpec(name="w", dtype="float32", shape=[1])],
                bucket_bytes=1024,
            ),
            group=weights_pb2.TransferGroup(
                group_id=request.group_id,
                endpoint="tcp://127.0.0.1:1",
                world_size=request.world_size,
                timeout=request.timeout,
            ),
        )

    async def SendWeights(self, request: Any, context: Any) -> Any:
        await self.obey(request)
        return learner_pb2.SendWeightsResponse(bytes=100, digests=[weights_pb2.TensorDigest(name="w", digest="same")])

    async def AbortTransfer(self, request: Any, context: Any) -> Any:
        await self.obey(request)
        return learner_pb2.AbortTransferResponse()

    async def next_step(self) -> controller_pb2.NextStepResponse:
        request = controller_pb2.NextStepRequest(**self.me(), policy_version=self.version, wait=to_duration(3))
        return await self.stub.NextStep(request, timeout=SECONDS)

    async def commit(
        self, step: int, group_ids: list[str], group_tokens: list[int] | None = None, **figures: float
    ) -> controller_pb2.CommitStepResponse:
        self.version = step
        metrics = {"reward": float(step), "response_length": 5.0, "truncated": 0.5, "mismatch_kl": 0.001} | figures
        request = controller_pb2.CommitStepRequest(
            **self.me(),
            step=step,
            policy_version=step,
            group_ids=group_ids,
            metrics=metrics,
            staleness={0: 1, 1: 1},
            group_tokens=group_tokens,
        )
        return await self.stub.CommitStep(request, timeout=SECONDS)


@dataclass
class Replay(Peer, replay_pb2_grpc.ReplayServiceServicer):
    stored: dict[str, int] = field(default_factory=dict)
    last_drawn_step: int = 1000
    """What it says of its log: of more steps than any run here has, unless a test says otherwise."""
    released_step: int = 0
    compared: asyncio.Event = field(default_factory=asyncio.Event)

    async def FindGroups(self, request: Any, context: Any) -> Any:
        self.compared.set()
        known = [group_id for group_id in request.group_ids if group_id in self.stored]
        groups = [replay_pb2.StoredGroup(group_id=g, oldest_policy_version=self.stored[g]) for g in known]
        return replay_pb2.FindGroupsResponse(groups=groups)

    async def EvictStale(self, request: Any, context: Any) -> Any:
        return replay_pb2.EvictStaleResponse()

    async def AppendGroup(self, request: Any, context: Any) -> Any:
        self.stored[request.group.group_id] = 0
        return replay_pb2.AppendGroupResponse()

    async def DrawBatch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield replay_pb2.DrawBatchResponse(header=replay_pb2.DrawHeader())

    async def SetAside(self, request: Any, context: Any) -> Any:
        return replay_pb2.SetAsideResponse()

    async def ReleaseSteps(self, request: Any, context: Any) -> Any:
        return replay_pb2.ReleaseStepsResponse()

    async def GetReplayStatistics(self, request: Any, context: Any) -> Any:
        return replay_pb2.GetReplayStatisticsResponse(
            waiting_groups=len(self.stored), last_drawn_step=self.last_drawn_step, released_step=self.released_step
        )
