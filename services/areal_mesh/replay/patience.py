"""For how long draws are held for groups that still run: so many seconds a step, over all calls that draw it."""

import asyncio

import structlog

from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.runtime.waiting import wait_until

_LOG = structlog.get_logger("replay")


class DrawPatience:
    """Seconds left for the step that is drawn. A restart of the service begins them anew.

    Args:
        seconds: a step may be held so long; 0: never.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step = 0
        self._spent = 0.0
        self.held_seconds = 0.0
        """Of all steps."""

    def left(self, request: DrawRequest) -> float:
        """Seconds for which the step may still be held."""
        return max(0.0, self._seconds - (self._spent if request.step == self._step else 0.0))

    async def hold(self, request: DrawRequest, awaited: int, changed: asyncio.Event, seconds: float) -> None:
        """Waits for a change at the step's expense, `seconds` and what is left at most."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await wait_until(changed, min(seconds, self.left(request)))
        if self._spend(request, loop.time() - began):
            _LOG.warning("the draw is held no longer: running groups become stale", step=request.step, groups=awaited)

    def _spend(self, request: DrawRequest, seconds: float) -> bool:
        """Whether the step's patience ended with these seconds."""
        if request.step != self._step:
            self._step, self._spent = request.step, 0.0
        had_some = self._spent < self._seconds
        self._spent += seconds
        self.held_seconds += seconds
        return had_some and self._spent >= self._seconds
