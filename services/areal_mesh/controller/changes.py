"""Changes of the run, by kind: who waits for one kind is not woken by another.

A run of hundreds of members ends hundreds of groups a second; what each costs must not grow with those who wait. So a
group's end wakes nobody but watchers, and leases that wait are woken one by one (`lease_queue`).
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum


class Change(StrEnum):
    """What changed."""

    MEMBERS = "members"
    """Who is a member, in which state, with which version."""
    STEPS = "steps"
    """A step was committed."""
    STATE = "state"
    """The run was paused, resumed, stopped or ended, or its stage was advanced by hand."""
    PUBLISHES = "publishes"
    """A publish ended, or is no longer waited for."""
    EVALUATIONS = "evaluations"
    """An evaluation has its responses, or its figures."""
    PLACES = "places"
    """A group gave its place back, or waits to be issued again."""


def arrival(holder: str) -> str:
    """The change of one life's registration, see `member.holder_key`."""
    return f"arrival of {holder}"


class Changes:
    """Wakes whoever waits for the run's state to change; `notify` may be called from any task of the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._watching: set[asyncio.Future[None]] = set()
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self.count = 0
        """Changes so far, those that wake nobody included."""

    def listen(self, callback: Callable[[], None], *kinds: str) -> None:
        """Has `callback` called at each change of these kinds."""
        for kind in kinds:
            self._listeners.setdefault(kind, []).append(callback)

    def notify(self, *kinds: str) -> None:
        """Has whoever waits for one of these kinds look again, and watchers; of no kind, watchers alone."""
        self.count += 1
        _wake(self._watching)
        for kind in kinds:
            _wake(self._waiting.get(kind, ()))
        for callback in dict.fromkeys(call for kind in kinds for call in self._listeners.get(kind, ())):
            callback()

    async def until(self, reached: Callable[[], bool], seconds: float, *kinds: str) -> bool:
        """Waits until `reached()` holds, `seconds` at most; returns whether it does. Asked after these changes."""
        if reached():
            return True
        try:
            async with asyncio.timeout(seconds):
                while not reached():
                    await self._next([self._waiting.setdefault(kind, set()) for kind in kinds])
        except TimeoutError:
            return reached()
        finally:
            for kind in kinds:
                if not self._waiting.get(kind, True):
                    del self._waiting[kind]
        return True

    async def after(self, count: int, seconds: float) -> None:
        """Waits until more than `count` changes of any kind have come, `seconds` at most."""
        if self.count <= count:
            try:
                async with asyncio.timeout(seconds):
                    await self._next([self._watching])
            except TimeoutError:
                return

    async def _next(self, rooms: list[set[asyncio.Future[None]]]) -> None:
        future = asyncio.get_running_loop().create_future()
        for room in rooms:
            room.add(future)
        try:
            await future
        finally:
            for room in rooms:
                room.discard(future)


def _wake(room: "set[asyncio.Future[None]] | tuple[()]") -> None:
    for future in room:
        if not future.done():
            future.set_result(None)
