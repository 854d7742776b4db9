"""Changes by kind: whom a change has look again, and whom it leaves asleep."""

import asyncio

import pytest

from areal_mesh.controller.changes import Change, Changes

SECONDS = 5.0


class Asked:
    """A condition that counts how often it was asked."""

    def __init__(self) -> None:
        self.times = 0
        self.holds = False
        self.asleep = asyncio.Event()
        """Whoever waits for it has asked in vain and sleeps."""

    def __call__(self) -> bool:
        self.times += 1
        if self.times == 2:
            self.asleep.set()
        return self.holds


async def test_a_change_wakes_those_who_wait_for_its_kind_and_no_others() -> None:
    changes, members, steps = Changes(), Asked(), Asked()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(changes.until(members, SECONDS, Change.MEMBERS))
        stepping = tasks.create_task(changes.until(steps, SECONDS, Change.STEPS, Change.STATE))
        await members.asleep.wait()
        await steps.asleep.wait()
        before = members.times
        for _ in range(50):
            changes.notify()
            changes.notify(Change.PLACES)
        steps.holds = True
        changes.notify(Change.STATE)
        assert await stepping
        assert members.times == before
        members.holds = True
        changes.notify(Change.MEMBERS)


async def test_a_wait_ends_at_its_deadline_and_says_what_holds() -> None:
    changes, never = Changes(), Asked()
    assert not await changes.until(never, 0.01, Change.STEPS)
    changes.notify(Change.STEPS)  # nobody is left to be woken
    never.holds = True
    assert await changes.until(never, 0.0, Change.STEPS)


@pytest.mark.parametrize("kinds", [(), (Change.PLACES,)])
async def test_a_watcher_sees_a_change_of_any_kind_and_of_none(kinds: tuple[Change, ...]) -> None:
    changes = Changes()
    seen = changes.count
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(changes.after(seen, SECONDS))
        await asyncio.sleep(0)
        assert not watching.done()
        changes.notify(*kinds)
        await watching
    await changes.after(seen, SECONDS)  # it has come already
    await changes.after(changes.count, 0.01)


def test_a_listener_is_called_once_a_change_whatever_its_kinds() -> None:
    changes, calls = Changes(), []
    changes.listen(lambda: calls.append(changes.count), Change.MEMBERS, Change.PLACES)
    changes.notify(Change.MEMBERS, Change.PLACES)
    changes.notify(Change.STEPS)
    assert calls == [1]
