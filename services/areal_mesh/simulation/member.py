"""A simulated member's calls, sent as a real one sends them: with a deadline, and again until they are answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

import grpc
import grpc.aio

from areal_mesh.runtime.channels import ROLE_KEY, SERVICE_KEY
from areal_mesh.runtime.durations import from_duration
from areal_mesh.runtime.identity import Identity
from areal_mesh.simulation.figures import Figures
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc

Answer = TypeVar("Answer")
CALL_SECONDS = 120.0
_AGAIN = (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
METRICS = {f"metric_{index}": float(index) for index in range(8)}
"""As many as a real generator's heartbeat has."""


def plain_channel(address: str) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    return grpc.aio.insecure_channel(address, options=options)


class SimulatedMember:
    """One life of a member, and its channel to the controller."""

    def __init__(self, identity: Identity, channel: grpc.aio.Channel, figures: Figures) -> None:
        self.me: dict[str, Any] = {"service_id": identity.service_id, "incarnation": identity.incarnation}
        self.stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
        self.metadata = ((ROLE_KEY, identity.role), (SERVICE_KEY, identity.service_id))
        self.draining = asyncio.Event()
        """Set once the controller asks the member to leave."""
        self._keys = 0
        self._figures = figures
        self._role = identity.role_number

    def next_key(self) -> str:
        """An idempotency key that this life has not used."""
        self._keys += 1
        return f"{self.me['incarnation']}-{self._keys}"

    async def call(self, method: Callable[..., Awaitable[Answer]], request: Any) -> Answer:
        """Sends an idempotent call until it is answered.

        Raises:
            grpc.aio.AioRpcError: the call was refused.
        """
        while True:
            try:
                return await method(request, timeout=CALL_SECONDS, wait_for_ready=True, metadata=self.metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _AGAIN:
                    raise
                self._figures.again += 1

    async def register(self, address: str, version: int = -1, ranks: int = 0, run_name: str = "") -> None:
        """Makes it a member that is reached at `address`."""
        request = controller_pb2.RegisterRequest(
            **self.me, role=self._role, address=address, policy_version=version, transfer_ranks=ranks, run_name=run_name
        )
        await self.call(self.stub.Register, request)

    async def beat(self, standing: Callable[[], tuple[int, Collection[str]]], seconds: float) -> None:
        """Sends heartbeats until it is cancelled; `standing`: the version it holds, and its leases."""
        while True:
            version, group_ids = standing()
            request = controller_pb2.HeartbeatRequest(
                service_id=self.me["service_id"],
                incarnation=self.me["incarnation"],
                state=common_pb2.SERVICE_STATE_DRAINING if self.draining.is_set() else common_pb2.SERVICE_STATE_SERVING,
                policy_version=version,
                group_ids=group_ids,
                rate=1.0,
                rate_unit="tokens",
                metrics=METRICS,
            )
            began = time.perf_counter()
            response = await self.call(self.stub.Heartbeat, request)
            self._figures.heartbeats.append(time.perf_counter() - began)
            if response.drain:
                self.draining.set()
            await asyncio.sleep(from_duration(response.interval) or seconds)

    async def leave(self) -> None:
        """Leaves the run."""
        request = controller_pb2.DeregisterRequest(
            service_id=self.me["service_id"], incarnation=self.me["incarnation"], reason="done"
        )
        await self.call(self.stub.Deregister, request)
