"""Appends of events, awaited on an event loop: one turn of the loop for all records of a commit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from areal_mesh.replay.events import Event, Retired, encode
from areal_mesh.replay.log import DurableLog
from areal_mesh.replay.records import Location


class AwaitedLog:
    """A durable log as its event loop sees it."""

    def __init__(self, log: DurableLog) -> None:
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None

    def append(
        self, event: Event | Retired, payload: bytes = b"", decision: bool = False
    ) -> "asyncio.Future[Location]":
        """Appends an event; see `DurableLog.append` and `events.encode`. The future is done once it is durable."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._log.deliver_by(partial(_deliver, loop))
        awaited: asyncio.Future[Location] = loop.create_future()
        self._log.append(*encode(event, payload), decision=decision).add_done_callback(partial(_copy, awaited))
        return awaited


def _deliver(loop: asyncio.AbstractEventLoop, resolve: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:  # the loop is closed: nobody waits any more
        resolve()


def _copy(awaited: "asyncio.Future[Location]", done: "Future[Location]") -> None:
    if awaited.done():
        return
    error = done.exception()
    if error is not None:
        awaited.set_exception(error)
    else:
        awaited.set_result(done.result())
