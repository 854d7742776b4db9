"""All simulated members of a run, at work against a real controller and a real replay buffer."""

import asyncio
import time
from dataclasses import dataclass, field

import grpc.aio

from areal_mesh.simulation.figures import Figures
from areal_mesh.simulation.generators import SimulatedGenerator
from areal_mesh.simulation.learner import SimulatedLearner
from areal_mesh.simulation.member import CALL_SECONDS, plain_channel
from areal_mesh.simulation.plan import Plan, host_of
from areal_mesh.simulation.servicer import WeightsServicer
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, status_pb2, status_pb2_grpc

_HOST = "127.0.0.1"
_STATUS_SECONDS = 0.25  # a person's view, and a dashboard's, asked for more often than either does
_LOOK_SECONDS = 0.2
_STOP_SECONDS = 2.0


@dataclass
class SimulatedMesh:
    """The members of a plan. `rewards`: of a wrong and of a right answer, as the run's settings have them."""

    plan: Plan
    rewards: tuple[float, float]
    run_name: str
    figures: Figures = field(default_factory=Figures)
    weights: WeightsServicer = field(default_factory=WeightsServicer)

    async def run(self, controller: str, start_seconds: float) -> None:
        """Runs until the schedule's end.

        Args:
            controller: its host:port.
            start_seconds: how long the controller and the replay buffer may take to be there.

        Raises:
            TimeoutError: they were not.
        """
        hosts = [_HOST, *(host_of(number) for number in range(self.plan.generators))]
        server, port = await self.weights.serve(hosts)
        try:
            address = await self._replay(controller, start_seconds)
            async with plain_channel(address) as replay, asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(self._ask_status(controller))
                await self._members(controller, port, replay)
                asking.cancel()
        finally:
            await server.stop(_STOP_SECONDS)

    async def _members(self, controller: str, port: int, replay: grpc.aio.Channel) -> None:
        async with asyncio.TaskGroup() as members:
            learner = SimulatedLearner(self.plan, self.weights, self.figures, replay)
            members.create_task(learner.run(controller, f"{_HOST}:{port}", self.run_name))
            for number in range(self.plan.generators):
                one = SimulatedGenerator(number, self.plan, self.weights, self.figures, self.rewards, replay)
                members.create_task(one.run(controller, port, self.run_name))

    async def _replay(self, controller: str, seconds: float) -> str:
        """Where the replay buffer is, once it is a member."""
        request = controller_pb2.FindMembersRequest(role=common_pb2.ROLE_REPLAY)
        async with asyncio.timeout(seconds), plain_channel(controller) as channel:
            stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
            while True:
                found = await stub.FindMembers(request, timeout=seconds, wait_for_ready=True)
                if found.members:
                    return found.members[0].address
                await asyncio.sleep(_LOOK_SECONDS)

    async def _ask_status(self, controller: str) -> None:
        """Asks for the status several times a second, until it is cancelled."""
        async with plain_channel(controller) as channel:
            stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
            while True:
                began = time.perf_counter()
                await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=CALL_SECONDS)
                self.figures.statuses.append(time.perf_counter() - began)
                await asyncio.sleep(_STATUS_SECONDS)
