"""A simulated generator: leases groups, lets their time pass, stores them in the replay buffer, ends their leases."""

import asyncio
import time
from dataclasses import dataclass, field

import grpc.aio

from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import retry_seconds
from areal_mesh.runtime.identity import Identity
from areal_mesh.simulation.figures import Figures
from areal_mesh.simulation.member import SimulatedMember, plain_channel
from areal_mesh.simulation.payload import append_request
from areal_mesh.simulation.plan import Plan, host_of
from areal_mesh.simulation.servicer import WeightsServicer
from areal_mesh.v1 import controller_pb2, replay_pb2, replay_pb2_grpc

_WAIT_SECONDS = 5.0
_HEARTBEAT_SECONDS = 1.0
_STAGGER_SECONDS = 0.002  # hundreds of services do not start in one instant


@dataclass
class SimulatedGenerator:
    """One generator.

    Args:
        rewards: of a wrong and of a right answer.
        replay: the channel to the replay buffer, which all share.
    """

    number: int
    plan: Plan
    weights: WeightsServicer
    figures: Figures
    rewards: tuple[float, float]
    replay: grpc.aio.Channel
    _held: dict[str, int] = field(default_factory=dict)
    """Leases, with the version that each began with."""
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, controller: str, port: int, run_name: str) -> None:
        """Works until the run is over."""
        me = Identity("generator", f"simulated-generator-{self.number}")
        async with plain_channel(controller) as channel, asyncio.TaskGroup() as tasks:
            member = SimulatedMember(me, channel, self.figures)
            await asyncio.sleep(self.number * _STAGGER_SECONDS)
            await member.register(f"{host_of(self.number)}:{port}", ranks=1, run_name=run_name)
            beating = tasks.create_task(member.beat(lambda: (self.weights.version, self._held), _HEARTBEAT_SECONDS))
            working: set[asyncio.Task[None]] = set()
            while await self._lease(member, tasks, working):
                pass
            for task in working:
                task.cancel()
            beating.cancel()
            await member.leave()

    async def _lease(
        self, member: SimulatedMember, tasks: asyncio.TaskGroup, working: "set[asyncio.Task[None]]"
    ) -> bool:
        """Leases as many groups as it has room for; False once there will be no more."""
        self._freed.clear()
        room = self.plan.groups_in_flight - len(self._held)
        if room == 0:
            await _first_of(self._freed, member.draining)
            return not member.draining.is_set()
        request = controller_pb2.LeaseGroupsRequest(
            **member.me, max_groups=room, wait=to_duration(_WAIT_SECONDS), idempotency_key=member.next_key()
        )
        asked = time.perf_counter()
        response = await member.call(member.stub.LeaseGroups, request)
        if response.leases:
            self.figures.leases.append(time.perf_counter() - asked)
        for lease in response.leases:
            self._held[lease.group_id] = self.weights.version
            task = tasks.create_task(self._work(member, lease))
            working.add(task)
            task.add_done_callback(working.discard)
        return not (response.finished or member.draining.is_set())

    async def _work(self, member: SimulatedMember, lease: controller_pb2.Lease) -> None:
        version = self._held[lease.group_id]
        lengths = self.plan.lengths.of_group(lease.sequence, lease.sampling.max_response_tokens)
        await asyncio.sleep(self.plan.generation_seconds(lengths))
        await self._append(member, append_request(lease, lengths, version, self.rewards, self.plan.payload_tokens))
        request = controller_pb2.EndLeaseRequest(
            **member.me,
            group_id=lease.group_id,
            end=controller_pb2.LEASE_END_STORED,
            oldest_policy_version=version,
            response_tokens=sum(lengths),
        )
        await member.call(member.stub.EndLease, request)
        self.figures.ended += 1
        self.figures.leased_tokens.add(sum(lengths))
        del self._held[lease.group_id]
        self._freed.set()

    async def _append(self, member: SimulatedMember, request: replay_pb2.AppendGroupRequest) -> None:
        """Stores a group; a buffer that is full is asked again when it says."""
        stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(self.replay)
        while True:
            try:
                await member.call(stub.AppendGroup, request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(retry_seconds(error, 1.0))
            else:
                return


async def _first_of(*events: asyncio.Event) -> None:
    """Waits until one of the events is set."""
    async with asyncio.TaskGroup() as tasks:
        waiting = {tasks.create_task(event.wait()) for event in events}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
