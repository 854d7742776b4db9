"""Time, injected: a monotonic clock for leases and deadlines, a unix clock for what is written down."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """`monotonic` never goes back and is compared only with itself; `unix` is written to the ledger. Seconds."""

    monotonic: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = time.time


class Changes:
    """Wakes whoever waits for the run's state to change; `notify` may be called from any task of the event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.count = 0
        """Changes so far, those that wake nobody included."""

    def note(self) -> None:
        """Counts a change that nobody waits for."""
        self.count += 1

    def notify(self) -> None:
        """Has every waiter look again."""
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Waits until `reached()` holds, `seconds` at most; returns whether it does. It is asked after each change."""
        try:
            async with asyncio.timeout(seconds):
                while not reached():
                    await self._event.wait()
        except TimeoutError:
            return reached()
        return True
