"""What a service does a second, from readings of a counter, and how long ago the counter moved."""

import time
from collections import deque
from collections.abc import Callable

_WINDOW_SECONDS = 10.0


class CounterRate:
    """The rate of a counter over a sliding window of readings."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, window_seconds: float = _WINDOW_SECONDS) -> None:
        self._clock = clock
        self._window = window_seconds
        self._readings: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._progress = clock()

    def read(self, count: int) -> None:
        """Takes a reading of the counter, which starts at 0."""
        now = self._clock()
        if count != self._readings[-1][1]:
            self._progress = now
        self._readings.append((now, count))
        # The last reading before the window stays: the rate spans the whole window.
        while len(self._readings) > 2 and self._readings[1][0] <= now - self._window:
            self._readings.popleft()

    def rate(self) -> float:
        """Counts a second between the first and the last reading of the window."""
        first, last = self._readings[0], self._readings[-1]
        seconds = last[0] - first[0]
        return (last[1] - first[1]) / seconds if seconds > 0 else 0.0

    def seconds_since_progress(self) -> float:
        """Seconds since a reading last differed from the one before."""
        return self._clock() - self._progress
