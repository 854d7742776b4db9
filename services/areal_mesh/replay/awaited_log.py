"""Appends of events, awaited on an event loop: one turn of the loop for all records of a commit.

The other way too, what is appended in one turn of the loop goes to the thread that writes at its end, all at once: that
thread is woken once, where it would take the interpreter away in the middle of the turn for each, and writes once.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from areal_mesh.replay.events import Event, Retired, encode
from areal_mesh.replay.log import Append, DurableLog
from areal_mesh.replay.records import Location


class AwaitedLog:
    """A durable log as its event loop sees it."""

    def __init__(self, log: DurableLog) -> None:
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: list[Append] = []

    def append(
        self, event: Event | Retired, payload: bytes = b"", decision: bool = False
    ) -> "asyncio.Future[Location]":
        """Appends an event; see `Append` and `events.encode`. The future is done once it is durable.

        Raises:
            LogBroken: the log is broken or closed.
        """
        self._log.check_open()
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._log.deliver_by(partial(_deliver, loop))
        awaited: asyncio.Future[Location] = loop.create_future()
        appended = Append(*encode(event, payload), decision=decision)
        appended.done.add_done_callback(partial(_copy, awaited))
        if not self._turn:
            loop.call_soon(self._hand_over)
        self._turn.append(appended)
        return awaited

    def _hand_over(self) -> None:
        turn, self._turn = self._turn, []
        self._log.append_all(turn)


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
