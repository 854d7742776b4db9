"""What answers in the place of a controller that cannot go on: every service that calls is told to leave, and why.

Where each service is started again by itself, one that finds no controller waits two minutes, fails, and is started
again to wait once more. Here it is told at once that nothing is left to do, and ends as at the end of a run.
"""

import asyncio
import time
from typing import Any

from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import failed_precondition
from areal_mesh.runtime.security.credentials import Credentials
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc

QUIET_SECONDS = 10.0
"""Services announce themselves every second while they start, and are started within some seconds of each other."""
MOST_SECONDS = 120.0
_HEARTBEAT_SECONDS = 0.5


class Farewell(controller_pb2_grpc.ControllerServiceServicer):
    """The calls by which a service learns that it is to leave; none of them changes anything."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self.called = asyncio.Event()
        """Set when a service calls that has still to leave."""

    async def Announce(self, request: Any, context: Any) -> controller_pb2.AnnounceResponse:
        self.called.set()
        return controller_pb2.AnnounceResponse(over=True)

    async def Register(self, request: Any, context: Any) -> controller_pb2.RegisterResponse:
        self.called.set()
        raise failed_precondition(f"the controller {self._reason}")

    async def Heartbeat(self, request: Any, context: Any) -> controller_pb2.HeartbeatResponse:
        self.called.set()
        return controller_pb2.HeartbeatResponse(drain=True, interval=to_duration(_HEARTBEAT_SECONDS))

    async def Deregister(self, request: Any, context: Any) -> controller_pb2.DeregisterResponse:
        return controller_pb2.DeregisterResponse()

    async def LeaseGroups(self, request: Any, context: Any) -> controller_pb2.LeaseGroupsResponse:
        return controller_pb2.LeaseGroupsResponse(finished=True)

    async def NextStep(self, request: Any, context: Any) -> controller_pb2.NextStepResponse:
        return controller_pb2.NextStepResponse(finished=True)

    async def EndLease(self, request: Any, context: Any) -> controller_pb2.EndLeaseResponse:
        # What is stored, the next life of the controller finds in the replay buffer.
        return controller_pb2.EndLeaseResponse()

    async def _over(self, request: Any, context: Any) -> Any:
        raise failed_precondition(f"the controller {self._reason}")

    ReportStale = CheckBatch = CommitStep = FindMembers = _over
    Pause = Resume = Stop = AdvanceStage = TakeCheckpoint = GetConfig = _over


async def bid_farewell(
    listen: str, reason: str, quiet_seconds: float = QUIET_SECONDS, credentials: Credentials | None = None
) -> None:
    """Answers at a controller's address until nobody has called for a while.

    Args:
        listen: the controller's, host:port.
        reason: why it cannot go on, as in "the controller REASON".
        credentials: the controller's.

    Raises:
        StartupError: the address cannot be bound.
    """
    servicer = Farewell(reason)
    server = MeshServer(listen, credentials)
    server.add(controller_pb2_grpc.add_ControllerServiceServicer_to_server, servicer, "areal_mesh.v1.ControllerService")
    await server.start()
    until = time.monotonic() + MOST_SECONDS
    try:
        while time.monotonic() < until and await wait_until(servicer.called, quiet_seconds):
            servicer.called.clear()
    finally:
        await server.stop(grace_seconds=1.0)
