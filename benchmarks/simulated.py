"""Simulated members for loads on a real controller: they keep its protocol over real gRPC, without models or work.

Every one is named `simulated-...`. Generators share one server, each under a loopback address of its own, so that the
controller has a channel to each as in a real run; the learner and the replay buffer share another.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field

import grpc
import grpc.aio

from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.identity import Identity
from areal_mesh.simulation.figures import Figures
from areal_mesh.simulation.member import METRICS, SimulatedMember, plain_channel
from areal_mesh.simulation.plan import host_of
from areal_mesh.v1 import controller_pb2
from benchmarks.simulated_services import SimulatedServices

LEASE_WAIT_SECONDS = 5.0
_TOKENS = 16 * 4096


@dataclass(frozen=True)
class Load:
    """What the generators do. Seconds: a group takes `hold` (least, most); a lease follows the one before at `every`.

    Each asks for as many groups as it has free `slots`, as a real one does.

    `bound`: admission has less room than the generators ask for, so that leases wait.
    """

    hold: tuple[float, float] = (1.5, 6.0)
    slots: int = 64
    every: float = 0.0
    bound: bool = True
    heartbeat_seconds: float = 1.0


@dataclass
class SimulatedMesh(SimulatedServices):
    """The members."""

    controller: str = ""
    load: Load = field(default_factory=Load)
    max_staleness: int = 1
    figures: Figures = field(default_factory=Figures)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _started: asyncio.Event = field(default_factory=asyncio.Event)
    _committed_step: int = 0
    _committed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, members: int, port: int) -> None:
        """The members' work, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._replay(port))
            tasks.create_task(self._learner(port))
            for number in range(members):
                tasks.create_task(self._generator(number, port))

    async def started(self, seconds: float) -> None:
        """Waits until generators lease. Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            await self._started.wait()

    async def learned(self, steps: int, step_seconds: float) -> None:
        """Waits until so many steps are committed. Raises TimeoutError where one takes longer than `step_seconds`."""
        while self._committed_step < steps:
            self._committed.clear()
            async with asyncio.timeout(step_seconds):
                await self._committed.wait()

    # --- members ---------------------------------------------------------------------------------------------------

    async def _generator(self, number: int, port: int) -> None:
        chance = random.Random(number)
        me = Identity("generator", f"simulated-generator-{number}")
        address = f"{host_of(number)}:{port}"
        async with self._channel(me) as channel, asyncio.TaskGroup() as tasks:
            member = SimulatedMember(me, channel, self.figures)
            held: set[str] = set()
            freed = asyncio.Event()
            await asyncio.sleep(number * 0.002)  # hundreds of services do not start in one instant
            await member.register(address, ranks=1)
            tasks.create_task(member.beat(lambda: (self.version, held), self.load.heartbeat_seconds))
            due = asyncio.get_running_loop().time() + self.load.every * chance.random()
            while True:
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                due += self.load.every
                freed.clear()
                if len(held) >= self.load.slots:
                    await freed.wait()
                for lease in await self._lease(member, self.load.slots - len(held)):
                    held.add(lease.group_id)
                    seconds = chance.uniform(*self.load.hold)
                    tasks.create_task(self._work(member, lease.group_id, held, freed, seconds))

    async def _lease(self, member: SimulatedMember, groups: int) -> list[controller_pb2.Lease]:
        asked = time.perf_counter()
        response = await member.call(
            member.stub.LeaseGroups,
            controller_pb2.LeaseGroupsRequest(
                **member.me,
                max_groups=groups,
                wait=to_duration(LEASE_WAIT_SECONDS),
                idempotency_key=member.next_key(),
            ),
        )
        if response.leases:
            if not self.load.bound:
                self.figures.leases.append(time.perf_counter() - asked)
            self._started.set()
        return list(response.leases)

    async def _work(
        self, member: SimulatedMember, group_id: str, held: set[str], freed: asyncio.Event, seconds: float
    ) -> None:
        version = self.version
        await asyncio.sleep(seconds)
        if group_id not in self.seen:  # a lease that lapsed may be two generators' work
            self.seen.add(group_id)
            self.stored.append((group_id, version))
        request = controller_pb2.EndLeaseRequest(
            **member.me,
            group_id=group_id,
            end=controller_pb2.LEASE_END_STORED,
            oldest_policy_version=version,
            response_tokens=_TOKENS,
        )
        await member.call(member.stub.EndLease, request)
        held.discard(group_id)
        freed.set()
        self.figures.ended += 1
        self._news.set()

    async def _learner(self, port: int) -> None:
        me = Identity("learner", "simulated-learner")
        async with self._channel(me) as channel, asyncio.TaskGroup() as tasks:
            member = SimulatedMember(me, channel, self.figures)
            await member.register(f"127.0.0.1:{port}", version=0)
            tasks.create_task(member.beat(lambda: (self.learner_version, ()), self.load.heartbeat_seconds))
            while True:
                order = await member.call(
                    member.stub.NextStep,
                    controller_pb2.NextStepRequest(
                        **member.me, policy_version=self.learner_version, wait=to_duration(LEASE_WAIT_SECONDS)
                    ),
                )
                batch = await self._draw(member, order.batch_groups)
                await self._commit(member, order.step, batch)

    async def _draw(self, member: SimulatedMember, groups: int) -> list[str]:
        """A batch by order of arrival; what is too old is reported and left out."""
        batch: list[str] = []
        while len(batch) < groups:
            stale: list[str] = []
            while self.stored and len(batch) < groups:
                group_id, version = self.stored.popleft()
                fresh = self.learner_version - version <= self.max_staleness
                (batch if fresh else stale).append(group_id)
            if stale:
                report = controller_pb2.ReportStaleRequest(
                    service_id=member.me["service_id"],
                    incarnation=member.me["incarnation"],
                    group_ids=stale,
                    policy_version=self.learner_version,
                )
                await member.call(member.stub.ReportStale, report)
            if len(batch) < groups and not self.stored:
                self._news.clear()
                await self._news.wait()
        return batch

    async def _commit(self, member: SimulatedMember, step: int, batch: list[str]) -> None:
        self.learner_version = step
        request = controller_pb2.CommitStepRequest(
            **member.me,
            step=step,
            policy_version=step,
            group_ids=batch,
            metrics=METRICS | {"reward": 0.0, "response_length": 4096.0, "truncated": 0.0},
            staleness={0: len(batch)},
            group_tokens=[],
        )
        began = time.perf_counter()
        await member.call(member.stub.CommitStep, request)
        self.figures.commits.append(time.perf_counter() - began)
        self._committed_step = step
        self._committed.set()

    async def _replay(self, port: int) -> None:
        me = Identity("replay", "simulated-replay")
        async with self._channel(me) as channel:
            member = SimulatedMember(me, channel, self.figures)
            await member.register(f"127.0.0.1:{port}")
            await member.beat(lambda: (-1, ()), self.load.heartbeat_seconds)

    def _channel(self, me: Identity) -> grpc.aio.Channel:
        return plain_channel(self.controller)
