"""What a generator measures of itself: tokens a second, time spent generating, time since something got done."""

import time
from collections import deque
from collections.abc import Callable

_WINDOW_SECONDS = 10.0


class GeneratingClock:
    """Seconds in which requests ran: at least one group is being sampled and the engine is not frozen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._seconds = 0.0
        self._sampling = 0
        self._frozen = False

    def begin(self) -> None:
        """A group's sampling begins."""
        self._settle()
        self._sampling += 1

    def end(self) -> None:
        """A group's sampling ends, however it ends."""
        self._settle()
        self._sampling -= 1

    def freeze(self, frozen: bool) -> None:
        """Requests are frozen for a publish, or go on."""
        self._settle()
        self._frozen = frozen

    def seconds(self) -> float:
        """Generating seconds so far."""
        self._settle()
        return self._seconds

    def _settle(self) -> None:
        now = self._clock()
        if self._sampling > 0 and not self._frozen:
            self._seconds += now - self._since
        self._since = now


class TokenRate:
    """Tokens a second over a sliding window, from readings of a counter."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, window_seconds: float = _WINDOW_SECONDS) -> None:
        self._clock = clock
        self._window = window_seconds
        self._readings: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._progress = clock()

    def read(self, tokens: int) -> None:
        """Takes a reading of the counter of all tokens so far."""
        now = self._clock()
        if tokens != self._readings[-1][1]:
            self._progress = now
        self._readings.append((now, tokens))
        # The last reading before the window stays: the rate spans the whole window.
        while len(self._readings) > 2 and self._readings[1][0] <= now - self._window:
            self._readings.popleft()

    def rate(self) -> float:
        """Tokens a second between the first and the last reading of the window."""
        first, last = self._readings[0], self._readings[-1]
        seconds = last[0] - first[0]
        return (last[1] - first[1]) / seconds if seconds > 0 else 0.0

    def seconds_since_progress(self) -> float:
        """Seconds since a reading last differed from the one before."""
        return self._clock() - self._progress
