"""What the controller last said of the run: members check requests against it, and not against the caller's word."""

import asyncio
from collections.abc import Callable

from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import controller_pb2

NEWS_SECONDS = 5.0
"""Some heartbeats: news that a caller has already may still be on their way here."""


class HeardStanding:
    """The run's standing as a member knows it, from its registration and each heartbeat since."""

    def __init__(self) -> None:
        self._said: controller_pb2.RunStanding | None = None
        self._heard = asyncio.Event()

    @property
    def said(self) -> controller_pb2.RunStanding | None:
        """What was heard last; None before the first registration."""
        return self._said

    def hear(self, said: controller_pb2.RunStanding) -> None:
        """Takes in what the controller says now."""
        if said == self._said:
            return
        self._said = said
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()

    async def when(self, holds: Callable[[controller_pb2.RunStanding], bool]) -> controller_pb2.RunStanding | None:
        """What is known once `holds` of it, or after NEWS_SECONDS; None where nothing was heard even then."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + NEWS_SECONDS
        while self._said is None or not holds(self._said):
            remaining = deadline - loop.time()
            if remaining <= 0:
                break
            await wait_until(self._heard, remaining)
        return self._said
