"""What simulated members serve to the controller: weights that arrive at once, and a replay buffer without a log."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from areal_mesh.simulation.servicer import WeightsServicer
from areal_mesh.v1 import generator_pb2_grpc, learner_pb2_grpc, replay_pb2, replay_pb2_grpc


@dataclass
class SimulatedServices(WeightsServicer, replay_pb2_grpc.ReplayServiceServicer):
    """The services of all members, and what they share.

    `stored`: groups waiting to be drawn, with the version each began with; `seen`: ids of all ever stored.
    """

    stored: "deque[tuple[str, int]]" = field(default_factory=deque)
    seen: set[str] = field(default_factory=set)

    async def serve_all(self) -> tuple[grpc.aio.Server, int]:
        """One server for all members' own services; returns it and its port."""
        server = grpc.aio.server()
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(self, server)
        learner_pb2_grpc.add_LearnerServiceServicer_to_server(self, server)
        replay_pb2_grpc.add_ReplayServiceServicer_to_server(self, server)
        port = server.add_insecure_port("0.0.0.0:0")
        await server.start()
        return server, port

    async def EvictStale(self, request: Any, context: Any) -> Any:
        return replay_pb2.EvictStaleResponse()

    async def FindGroups(self, request: Any, context: Any) -> Any:
        known = dict(self.stored)
        found = [
            replay_pb2.StoredGroup(group_id=group_id, oldest_policy_version=known[group_id])
            for group_id in request.group_ids
            if group_id in known
        ]
        return replay_pb2.FindGroupsResponse(groups=found)

    async def GetReplayStatistics(self, request: Any, context: Any) -> Any:
        return replay_pb2.GetReplayStatisticsResponse(waiting_groups=len(self.stored), last_drawn_step=2**31)

    async def _among_themselves(self, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "simulated members do this among themselves")

    AppendGroup = SetAside = ReleaseSteps = _among_themselves

    async def Generate(self, request: Any, context: Any) -> Any:
        yield await self._among_themselves(request, context)

    async def DrawBatch(self, request: Any, context: Any) -> Any:
        yield await self._among_themselves(request, context)
