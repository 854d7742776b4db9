"""Calls that a process has sent and that are not answered: what it waits for, and on whom."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class OpenCall:
    """One call. `method` without the package, `ReplayService/DrawBatch`; `since` is monotonic seconds."""

    method: str
    target: str
    since: float


class OpenCalls:
    """The open calls of one process; looked at from other threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._calls: dict[int, OpenCall] = {}

    def begin(self, full_method: str, target: str) -> Callable[[object], None]:
        """Takes in a call of `/areal_mesh.v1.X/Y`; what it returns is to be called, with anything, at its end."""
        number = next(self._numbers)
        call = OpenCall(full_method.rpartition(".v1.")[2].lstrip("/"), target, self._clock())
        with self._lock:
            self._calls[number] = call

        def end(_: object) -> None:
            with self._lock:
                self._calls.pop(number, None)

        return end

    def all(self) -> list[OpenCall]:
        """Every open call, the oldest first."""
        with self._lock:
            return sorted(self._calls.values(), key=lambda call: call.since)

    def ages(self, least_seconds: float) -> dict[str, float]:
        """Seconds since the oldest open call of each method, of those that are `least_seconds` old."""
        now = self._clock()
        oldest: dict[str, float] = {}
        for call in self.all():
            oldest.setdefault(call.method, now - call.since)
        return {method: age for method, age in oldest.items() if age >= least_seconds}

    def described(self) -> list[str]:
        """A line a call: `ReplayService/DrawBatch of 127.0.0.1:7401, for 40.9 s`."""
        now = self._clock()
        return [f"{call.method} of {call.target}, for {now - call.since:.1f} s" for call in self.all()]
