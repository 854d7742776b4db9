"""The rollout loop: leases groups as room allows, works on each in a task of its own, and drains.

Every group leased here ends here once: by its outcome; by RETURNED where it is not done when a drain's time is up; or
by nothing at all where the lease was lost, for the group is then another's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from areal_mesh.generator.concurrency import Concurrency, Look
from areal_mesh.generator.leases import RETURNED, GroupEnd
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import controller_pb2

_LOG = structlog.get_logger("rollout")
# The engine's load changes between the ends of groups as well.
_LOOK_SECONDS = 1.0
_STOP_SECONDS = 5.0


class LeaseSource(Protocol):
    """Where groups come from and where their ends go (`Leases`)."""

    async def take(self, max_groups: int) -> controller_pb2.LeaseGroupsResponse:
        """Leases up to `max_groups`."""

    async def end(self, group_id: str, outcome: GroupEnd) -> None:
        """Says how a group ended."""


@dataclass(frozen=True)
class Load:
    """What the loop asks of the engine."""

    holds_weights: bool
    """Weights that the learner published, whole."""
    engine: Look
    """Its open responses are those that the engine has been given."""


@dataclass(eq=False)
class _Running:
    """A group that is worked on."""

    lease: controller_pb2.Lease
    in_engine: bool = False
    """The engine was given its responses, and counts those that are open."""
    task: "asyncio.Task[None] | None" = None
    outcome: GroupEnd | None = None
    """Known once the work is done and only the controller has to hear of it."""


@dataclass
class RolloutLoop:
    """See the module."""

    leases: LeaseSource
    complete: Callable[[controller_pb2.Lease, Callable[[], None]], Awaitable[GroupEnd]]
    """Works on one group, and calls what it is given when the engine has it; an exception ends the service."""
    load: Callable[[], Load]
    concurrency: Concurrency
    drain_seconds: float
    ends: dict[str, int] = field(default_factory=dict)
    """Groups ended here, by the name of the end."""
    _running: dict[str, _Running] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _full: bool = False
    """Waits for room."""

    @property
    def group_ids(self) -> tuple[str, ...]:
        """Groups in flight."""
        return tuple(self._running)

    def look_again(self) -> None:
        """Something changed from which leasing may follow: weights came, a group ended."""
        self._changed.set()

    def engine_stepped(self) -> None:
        """Responses may have ended, so that there is room."""
        if self._full:
            self._changed.set()

    def lose(self, group_ids: Iterable[str]) -> None:
        """Drops groups that are no longer leased to this member."""
        for group_id in group_ids:
            running = self._running.pop(group_id, None)
            if running is not None and running.task is not None:
                _LOG.info("lease lost", group=group_id)
                running.task.cancel()
                self._count("lost")
        self.look_again()

    async def run(self, draining: asyncio.Event) -> None:
        """Works until `draining` is set and what was in flight has ended or been handed back."""
        async with asyncio.TaskGroup() as tasks:
            leasing = tasks.create_task(self._lease_for_ever(tasks))
            await draining.wait()
            leasing.cancel()
            await self._drain()

    async def _lease_for_ever(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._changed.clear()
            room = self._room()
            if room == 0:
                self._full = True
                await wait_until(self._changed, _LOOK_SECONDS)
                self._full = False
                continue
            asked = time.monotonic()
            response = await self.leases.take(room)
            started = [self._start(tasks, lease) for lease in response.leases]
            if not any(started) and time.monotonic() - asked < _LOOK_SECONDS:
                # A controller that issues nothing, now or ever, need not wait before it says so.
                await wait_until(self._changed, _LOOK_SECONDS)

    def _room(self) -> int:
        load = self.load()
        if not load.holds_weights:
            return 0
        coming = sum(running.lease.sampling.responses for running in self._running.values() if not running.in_engine)
        look = replace(load.engine, open_responses=load.engine.open_responses + coming)
        self.concurrency = self.concurrency.observe(look)
        return self.concurrency.room(look.open_responses, len(self._running))

    def _start(self, tasks: asyncio.TaskGroup, lease: controller_pb2.Lease) -> bool:
        """Begins work on a group; False where it is worked on already."""
        if lease.group_id in self._running:
            return False
        running = _Running(lease)
        self._running[lease.group_id] = running
        running.task = tasks.create_task(self._work(running))
        return True

    async def _work(self, running: _Running) -> None:
        def given() -> None:
            running.in_engine = True

        running.outcome = await self.complete(running.lease, given)
        await self._end(running, running.outcome)

    async def _end(self, running: _Running, outcome: GroupEnd) -> None:
        group_id = running.lease.group_id
        try:
            await self.leases.end(group_id, outcome)
        finally:
            # A lease that was lost meanwhile may be this member's again, as another task.
            if self._running.get(group_id) is running:
                del self._running[group_id]
                self._count(controller_pb2.LeaseEnd.Name(outcome.end).removeprefix("LEASE_END_").lower())
            self.look_again()

    async def _drain(self) -> None:
        _LOG.info("draining", groups=len(self._running))
        tasks = [running.task for running in self._running.values() if running.task is not None]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self.drain_seconds)
        held = [running for running in self._running.values() if running.task in late]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_STOP_SECONDS)
        async with asyncio.TaskGroup() as ends:
            for running in held:
                ends.create_task(self._end(running, running.outcome or RETURNED))

    def _count(self, end: str) -> None:
        self.ends[end] = self.ends.get(end, 0) + 1
