"""Simulated members for loads on a real controller: they keep its protocol over real gRPC, without models or work.

Every one is named `simulated-...`. Generators share one server, each under a loopback address of its own, so that the
controller has a channel to each as in a real run; the learner and the replay buffer share another.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio

from areal_mesh.runtime.channels import ROLE_KEY, SERVICE_KEY
from areal_mesh.runtime.durations import from_duration, to_duration
from areal_mesh.runtime.identity import Identity
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc
from benchmarks.simulated_services import SimulatedServices

Answer = TypeVar("Answer")
LEASE_WAIT_SECONDS = 5.0
_CALL_SECONDS = 120.0
_AGAIN = (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
_TOKENS = 16 * 4096
_METRICS = {f"metric_{index}": float(index) for index in range(8)}
"""As many as a real generator's heartbeat has."""


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
class Figures:
    """What was seen: seconds of each call (leases only where none waits for room), and groups that ended."""

    leases: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    ended: int = 0
    again: int = 0
    """Calls that were sent again: cancelled in the client, or without a connection."""

    def clear(self) -> None:
        """Starts counting anew."""
        self.leases.clear()
        self.commits.clear()
        self.ended = 0


@dataclass
class SimulatedMesh(SimulatedServices):
    """The members."""

    controller: str = ""
    load: Load = field(default_factory=Load)
    max_staleness: int = 1
    figures: Figures = field(default_factory=Figures)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _started: asyncio.Event = field(default_factory=asyncio.Event)

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

    # --- members ---------------------------------------------------------------------------------------------------

    async def _generator(self, number: int, port: int) -> None:
        chance = random.Random(number)
        me = Identity("generator", f"simulated-generator-{number}")
        address = f"127.1.{number // 250}.{number % 250 + 1}:{port}"
        async with self._channel(me) as channel, asyncio.TaskGroup() as tasks:
            member = _Member(me, channel, self.figures)
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

    async def _lease(self, member: "_Member", groups: int) -> list[controller_pb2.Lease]:
        member.keys += 1
        asked = time.perf_counter()
        response = await member.call(
            member.stub.LeaseGroups,
            controller_pb2.LeaseGroupsRequest(
                **member.me,
                max_groups=groups,
                wait=to_duration(LEASE_WAIT_SECONDS),
                idempotency_key=f"{member.me['incarnation']}-{member.keys}",
            ),
        )
        if response.leases:
            if not self.load.bound:
                self.figures.leases.append(time.perf_counter() - asked)
            self._started.set()
        return list(response.leases)

    async def _work(
        self, member: "_Member", group_id: str, held: set[str], freed: asyncio.Event, seconds: float
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
            member = _Member(me, channel, self.figures)
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

    async def _draw(self, member: "_Member", groups: int) -> list[str]:
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

    async def _commit(self, member: "_Member", step: int, batch: list[str]) -> None:
        self.learner_version = step
        request = controller_pb2.CommitStepRequest(
            **member.me,
            step=step,
            policy_version=step,
            group_ids=batch,
            metrics=_METRICS | {"reward": 0.0, "response_length": 4096.0, "truncated": 0.0},
            staleness={0: len(batch)},
            group_tokens=[],
        )
        began = time.perf_counter()
        await member.call(member.stub.CommitStep, request)
        self.figures.commits.append(time.perf_counter() - began)

    async def _replay(self, port: int) -> None:
        me = Identity("replay", "simulated-replay")
        async with self._channel(me) as channel:
            member = _Member(me, channel, self.figures)
            await member.register(f"127.0.0.1:{port}")
            await member.beat(lambda: (-1, ()), self.load.heartbeat_seconds)

    def _channel(self, me: Identity) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self.controller, options=[("grpc.use_local_subchannel_pool", 1)])


class _Member:
    """One member's calls to the controller."""

    def __init__(self, identity: Identity, channel: grpc.aio.Channel, figures: Figures) -> None:
        self.me: dict[str, str] = {"service_id": identity.service_id, "incarnation": identity.incarnation}
        self.stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
        self.metadata = ((ROLE_KEY, identity.role), (SERVICE_KEY, identity.service_id))
        self.keys = 0
        self._figures = figures
        self._role = identity.role_number

    async def call(self, method: Callable[..., Awaitable[Answer]], request: Any) -> Answer:
        """Sends an idempotent call until it is answered, as a real member does."""
        while True:
            try:
                return await method(request, timeout=_CALL_SECONDS, wait_for_ready=True, metadata=self.metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _AGAIN:
                    raise
                self._figures.again += 1

    async def register(self, address: str, version: int = -1, ranks: int = 0) -> None:
        request = controller_pb2.RegisterRequest(
            **self.me, role=self._role, address=address, policy_version=version, transfer_ranks=ranks
        )
        await self.call(self.stub.Register, request)

    async def beat(self, standing: Callable[[], tuple[int, Any]], seconds: float) -> None:
        while True:
            version, group_ids = standing()
            request = controller_pb2.HeartbeatRequest(
                service_id=self.me["service_id"],
                incarnation=self.me["incarnation"],
                state=common_pb2.SERVICE_STATE_SERVING,
                policy_version=version,
                group_ids=group_ids,
                rate=1.0,
                rate_unit="tokens",
                metrics=_METRICS,
            )
            response = await self.call(self.stub.Heartbeat, request)
            await asyncio.sleep(from_duration(response.interval) or seconds)
