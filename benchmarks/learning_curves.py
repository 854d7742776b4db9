"""How soon a run reaches an accuracy, from what its batches say. Pure, but for the clock of CPU time."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import time

import psutil

WINDOW = 512
"""Completions that the running accuracy is the mean of."""
_SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class Batch:
    """One batch of graded completions, each of a problem that the run has not seen before."""

    at: float
    """Unix seconds when the batch was graded, or, in the mesh, trained on and committed."""
    completions: int
    tokens: int
    correct: float
    """Share of its completions that are right."""


@dataclass(frozen=True)
class Reached:
    """What it took until the running accuracy was there first."""

    seconds: float
    cpu_seconds: float
    completions: float
    tokens: float


class CpuClock:
    """CPU seconds of all processes that this one has started, by time."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._seconds: list[float] = []
        self._of: dict[tuple[int, float], float] = {}

    def at(self, moment: float) -> float:
        """CPU seconds spent up to a moment, as of the last look before it."""
        index = bisect_right(self._times, moment) - 1
        return self._seconds[max(index, 0)] if self._seconds else 0.0

    def look(self) -> None:
        """Add what each process has used by now; those that ended keep what was seen of them."""
        for process in psutil.Process().children(recursive=True):
            try:
                times = process.cpu_times()
                self._of[process.pid, process.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        self._times.append(time())
        self._seconds.append(sum(self._of.values()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look four times a second."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_SAMPLE_SECONDS):
                self.look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def running_accuracy(batches: Sequence[Batch], window: int = WINDOW) -> list[float | None]:
    """After each batch the mean over the last batches that hold `window` completions; None before there are so many."""
    means: list[float | None] = []
    for end in range(1, len(batches) + 1):
        counted, right, start = 0, 0.0, end
        while start > 0 and counted < window:
            start -= 1
            counted += batches[start].completions
            right += batches[start].completions * batches[start].correct
        means.append(right / counted if counted >= window else None)
    return means


def first_reached(batches: Sequence[Batch], accuracy: float, began: float, cpu: CpuClock) -> Reached | None:
    """What it took until the running accuracy was at least `accuracy`; None if it never was."""
    for index, mean in enumerate(running_accuracy(batches)):
        if mean is not None and mean >= accuracy:
            until = batches[: index + 1]
            return Reached(
                until[-1].at - began,
                cpu.at(until[-1].at) - cpu.at(began),
                sum(batch.completions for batch in until),
                sum(batch.tokens for batch in until),
            )
    return None


def middle(all_reached: Sequence[Reached | None]) -> Reached | None:
    """The median of each figure over seeds; None if not every seed got there."""
    there = [each for each in all_reached if each is not None]
    if not there or len(there) < len(all_reached):
        return None
    return Reached(
        median(each.seconds for each in there),
        median(each.cpu_seconds for each in there),
        median(each.completions for each in there),
        median(each.tokens for each in there),
    )
