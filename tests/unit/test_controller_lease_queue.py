"""Leases that wait: who is called for how many places, and that no place is left with a call that ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from areal_mesh.controller.lease_queue import LeaseQueue

SECONDS = 5.0


@dataclass
class Scene:
    """A run with so many places; each caller leases what it is given, at once."""

    places: int = 0
    over: bool = False
    asked: int = 0
    in_this_turn: int = 0
    """Calls that leased since it was last set to 0."""
    granted: list[tuple[str, int]] = field(default_factory=list)
    barred: set[str] = field(default_factory=set)
    queue: LeaseQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = LeaseQueue(lambda: self.places, lambda: self.over)

    def may(self, name: str) -> bool:
        self.asked += 1
        return name not in self.barred

    async def lease(self, name: str, groups: int, seconds: float = SECONDS) -> int:
        async with self.queue.turn(groups, lambda: self.may(name), seconds) as share:
            assert share <= self.places
            self.places -= share
            self.granted.append((name, share))
            self.in_this_turn += 1
        return share

    @asynccontextmanager
    async def waiting(self, *calls: tuple[str, int]) -> AsyncIterator[dict[str, "asyncio.Task[int]"]]:
        async with asyncio.TaskGroup() as tasks:
            started = {name: tasks.create_task(self.lease(name, groups)) for name, groups in calls}
            await asyncio.sleep(0)
            assert len(self.queue) == len(calls)
            yield started
            self.over = True
            self.queue.serve()

    async def opens(self, places: int) -> None:
        self.places += places
        self.queue.serve()
        for _ in range(5):
            await asyncio.sleep(0)


async def test_who_came_first_is_served_first_and_a_newcomer_waits_behind() -> None:
    scene = Scene()
    async with scene.waiting(("a", 1), ("b", 1), ("c", 1)):
        await scene.opens(1)
        assert scene.granted == [("a", 1)]
        scene.places = 1
        assert await scene.lease("late", 1, seconds=0.0) == 0, "the place is promised to the one that waits"
        await scene.opens(0)
        assert [name for name, share in scene.granted if share] == ["a", "b"]


async def test_as_many_are_woken_as_there_are_places() -> None:
    scene = Scene()
    async with scene.waiting(*((f"g{number}", 1) for number in range(500))):
        scene.asked = 0
        for _ in range(20):
            await scene.opens(1)
        assert [name for name, _ in scene.granted] == [f"g{number}" for number in range(20)]
        assert scene.asked <= 3 * 20


async def test_a_publish_that_makes_room_for_hundreds_serves_them_a_few_at_a_time() -> None:
    scene = Scene()
    async with scene.waiting(*((f"g{number}", 64) for number in range(300))):
        scene.places = 600
        scene.queue.serve()
        turns = []
        while scene.places:
            scene.in_this_turn = 0
            await asyncio.sleep(0)
            turns.append(scene.in_this_turn)
            assert len(turns) < 400, scene.granted
        assert scene.granted == [(f"g{number}", 2) for number in range(300)]
        assert max(turns) <= 32


async def test_places_are_shared_among_those_who_wait() -> None:
    scene = Scene()
    async with scene.waiting(("a", 64), ("b", 64), ("c", 2)):
        await scene.opens(12)
        assert scene.granted == [("a", 4), ("b", 4), ("c", 2)]
        assert scene.places == 2, "for whoever asks next"


async def test_who_may_not_lease_is_passed_over_and_keeps_the_place_in_the_queue() -> None:
    scene = Scene(barred={"a"})
    async with scene.waiting(("a", 1), ("b", 1), ("c", 1)):
        await scene.opens(1)
        assert scene.granted == [("b", 1)]
        scene.barred.clear()
        await scene.opens(1)
        assert scene.granted == [("b", 1), ("a", 1)]


async def test_a_call_that_is_cancelled_when_it_is_its_turn_passes_its_place_on() -> None:
    scene = Scene()
    async with scene.waiting(("a", 1), ("b", 1)) as calls:
        scene.places = 1
        scene.queue.serve()
        calls["a"].cancel()
        await scene.opens(0)
        assert scene.granted == [("b", 1)]


async def test_a_caller_that_may_not_lease_any_more_when_woken_passes_its_place_on() -> None:
    scene = Scene()
    async with scene.waiting(("a", 1), ("b", 1)):
        scene.places = 1
        scene.queue.serve()
        scene.barred = {"a"}
        await scene.opens(0)
        assert scene.granted == [("b", 1)]


async def test_places_that_are_gone_when_the_call_wakes_are_waited_for_again() -> None:
    scene = Scene()
    async with scene.waiting(("a", 1)):
        scene.places = 1
        scene.queue.serve()
        scene.places = 0  # the run was paused meanwhile
        await scene.opens(0)
        assert scene.granted == []
        await scene.opens(1)
        assert scene.granted == [("a", 1)]


async def test_everybody_is_woken_when_the_run_is_over() -> None:
    scene = Scene()
    async with scene.waiting(("a", 1), ("b", 1)) as calls:
        scene.over = True
        scene.queue.serve()
        assert [await call for call in calls.values()] == [0, 0]
    assert await scene.lease("late", 1) == 0


@pytest.mark.parametrize("places", [0, 3])
async def test_a_call_that_cannot_wait_takes_what_there_is(places: int) -> None:
    scene = Scene(places=places)
    assert await scene.lease("a", 2, seconds=0.0) == min(2, places)
    assert len(scene.queue) == 0
