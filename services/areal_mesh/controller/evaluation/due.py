"""Evaluation during training, the decisions: which version, which generators, and for how long. Pure.

Invariants:

- a version is evaluated at most once; one is at the start, then every `every` versions as soon as generators hold it,
  and the run's last;
- an evaluation is of one version: a generator that is examined keeps it, and gets no other meanwhile;
- training never waits for an evaluation: as soon as no generator holds what the next step could be fed with, the hold
  ends, and what is then unfinished is given up.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
ATTEMPTS = 3
"""Of one place in the schedule, each with a newer version: then the run's versions come too fast for these suites."""


def is_due(every: int, last: int, tried: Sequence[int], published: int, final: bool) -> bool:
    """Whether the published version is to be evaluated now.

    Args:
        every: versions between two evaluations; 0 for none.
        last: the version that was evaluated last; -1 for none.
        tried: versions whose evaluation was given up since.
        published: the version that generators hold; -1 for none.
        final: it is the run's last, which is evaluated in any case.
    """
    if not every or published < 0 or published <= last or published in tried:
        return False
    place = published // every
    attempts = sum(version // every == place for version in tried)
    return attempts < ATTEMPTS and (final or last < 0 or place > last // every)


def chosen(share: float, generators: Sequence[T]) -> Sequence[T]:
    """Those of the generators that are examined: a share of them, one at least."""
    return generators[: max(1, math.floor(share * len(generators)))] if generators else ()


def keeps_version(committed: int, versions: Iterable[int], max_staleness: int) -> bool:
    """Whether generators that are examined may still go without newer weights: one of all can feed the next step.

    Args:
        committed: the learner's version.
        versions: what the generators hold, those that are examined among them.
        max_staleness: how much older what is trained on may be.
    """
    return any(version >= committed - max_staleness for version in versions)
