"""What simulated members see of the mesh, in bounded memory."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

_KEPT = 200_000  # calls: hours of hundreds of members


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of them lie; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


@dataclass
class Mean:
    """The mean of values that are not kept."""

    count: int = 0
    total: float = 0.0

    def add(self, value: float) -> None:
        """Takes one in."""
        self.count += 1
        self.total += value

    @property
    def value(self) -> float:
        """NaN of none."""
        return self.total / self.count if self.count else math.nan


def _times() -> "deque[float]":
    return deque(maxlen=_KEPT)


@dataclass
class Figures:
    """Seconds of the last calls of each kind, and what became of the groups."""

    leases: "deque[float]" = field(default_factory=_times)
    """Calls that were given groups; what they waited for a place is in it."""
    heartbeats: "deque[float]" = field(default_factory=_times)
    statuses: "deque[float]" = field(default_factory=_times)
    commits: "deque[float]" = field(default_factory=_times)
    """With the publish that a commit waits for."""
    steps: int = 0
    ended: int = 0
    """Groups that were stored."""
    again: int = 0
    """Calls that were sent again: cancelled, or without a connection."""
    leased_tokens: Mean = field(default_factory=Mean)
    """Response tokens of the groups that were stored."""
    trained_tokens: Mean = field(default_factory=Mean)
    stale: int = 0
    staleness: dict[int, int] = field(default_factory=dict)
    """Trained groups by staleness."""

    def clear_times(self) -> None:
        """Forgets the calls so far."""
        for times in (self.leases, self.heartbeats, self.statuses, self.commits):
            times.clear()
