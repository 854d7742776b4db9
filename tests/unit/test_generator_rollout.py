"""The rollout loop: every group leased ends once, and none harms another."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from areal_mesh.generator.concurrency import Concurrency, Look
from areal_mesh.generator.leases import GroupEnd
from areal_mesh.generator.rollout import Load, RolloutLoop
from areal_mesh.v1 import controller_pb2

STORED = GroupEnd(controller_pb2.LEASE_END_STORED)
DEADLINE = 10.0
IDLE = Look(0, 0.0, 0)


class PlannedLeases:
    """A lease source that issues the planned groups, as many as asked for at a time."""

    def __init__(self, group_ids: list[str]) -> None:
        self.waiting = list(group_ids)
        self.asked: list[int] = []
        self.ends: list[tuple[str, GroupEnd]] = []
        self.changed = asyncio.Event()

    async def take(self, max_groups: int) -> controller_pb2.LeaseGroupsResponse:
        self.asked.append(max_groups)
        taken, self.waiting = self.waiting[:max_groups], self.waiting[max_groups:]
        leases = [controller_pb2.Lease(group_id=group_id) for group_id in taken]
        return controller_pb2.LeaseGroupsResponse(leases=leases, finished=not self.waiting)

    async def end(self, group_id: str, outcome: GroupEnd) -> None:
        self.ends.append((group_id, outcome))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


def loop_of(
    leases: PlannedLeases,
    complete: Callable[[controller_pb2.Lease, Callable[[], None]], "asyncio.Future[GroupEnd] | object"],
    max_groups: int = 4,
    drain_seconds: float = 5.0,
    load: Callable[[], Load] = lambda: Load(True, IDLE),
) -> RolloutLoop:
    return RolloutLoop(leases, complete, load, Concurrency.start(64, 1, max_groups), drain_seconds)  # type: ignore[arg-type]


async def test_every_group_ends_once_and_no_more_are_in_flight_than_allowed() -> None:
    names = [f"g{index}" for index in range(20)]
    leases, most = PlannedLeases(names), 0

    async def complete(lease: controller_pb2.Lease, given: Callable[[], None]) -> GroupEnd:
        nonlocal most
        most = max(most, len(loop.group_ids))
        await asyncio.sleep(0)
        return STORED

    loop, draining = loop_of(leases, complete, max_groups=3), asyncio.Event()
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run(draining))
        await leases.until(lambda: len(leases.ends) == 20)
        draining.set()
    assert Counter(group_id for group_id, _ in leases.ends) == Counter(names)
    assert most == 3
    assert loop.group_ids == ()
    assert loop.ends == {"stored": 20}


async def test_a_drain_finishes_what_ends_in_time_and_hands_back_the_rest() -> None:
    leases, quick, started = PlannedLeases(["quick", "slow"]), asyncio.Event(), asyncio.Semaphore(0)
    never = asyncio.Event()

    async def complete(lease: controller_pb2.Lease, given: Callable[[], None]) -> GroupEnd:
        started.release()
        await (quick if lease.group_id == "quick" else never).wait()
        return STORED

    loop, draining = loop_of(leases, complete, drain_seconds=0.3), asyncio.Event()
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run(draining))
        await started.acquire()
        await started.acquire()
        leases.waiting.append("late")
        draining.set()
        quick.set()
    ends = {group_id: outcome.end for group_id, outcome in leases.ends}
    assert ends == {"quick": controller_pb2.LEASE_END_STORED, "slow": controller_pb2.LEASE_END_RETURNED}
    assert len(leases.ends) == 2


async def test_a_lost_lease_is_dropped_without_an_end_and_may_come_back() -> None:
    leases, started, cancelled = PlannedLeases(["g"]), asyncio.Semaphore(0), asyncio.Event()
    never = asyncio.Event()

    async def complete(lease: controller_pb2.Lease, given: Callable[[], None]) -> GroupEnd:
        started.release()
        if lease.attempt:
            return STORED
        try:
            await never.wait()
        finally:
            cancelled.set()
        return STORED

    async def take_again(max_groups: int) -> controller_pb2.LeaseGroupsResponse:
        return controller_pb2.LeaseGroupsResponse(leases=[controller_pb2.Lease(group_id="g", attempt=1)])

    loop, draining = loop_of(leases, complete), asyncio.Event()
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run(draining))
        await started.acquire()
        loop.lose(["g", "unknown"])
        await cancelled.wait()
        assert loop.group_ids == ()
        assert leases.ends == []
        leases.take = take_again  # type: ignore[method-assign]
        await leases.until(lambda: bool(leases.ends))
        draining.set()
    assert ("g", STORED) in leases.ends


async def test_nothing_is_leased_before_weights_came() -> None:
    leases, holds, looked = PlannedLeases(["g"]), False, asyncio.Event()

    def load() -> Load:
        looked.set()
        return Load(holds, IDLE)

    async def complete(lease: controller_pb2.Lease, given: Callable[[], None]) -> GroupEnd:
        return STORED

    loop, draining = loop_of(leases, complete, load=load), asyncio.Event()
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run(draining))
        await looked.wait()
        assert leases.asked == []
        holds = True
        loop.look_again()
        await leases.until(lambda: bool(leases.ends))
        draining.set()
    assert leases.asked[0] == 4


async def test_an_exception_out_of_a_group_ends_the_loop() -> None:
    leases = PlannedLeases(["g", "h"])

    async def complete(lease: controller_pb2.Lease, given: Callable[[], None]) -> GroupEnd:
        raise RuntimeError("the engine died")

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(DEADLINE):
            await loop_of(leases, complete).run(asyncio.Event())
    assert raised.group_contains(RuntimeError, match="the engine died")
