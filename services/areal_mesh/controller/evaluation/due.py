"""Evaluation during training, the decisions: which version, which generators, and for how long. Pure.

Invariants:

- a version is evaluated at most once; one is at the start, then every `every` versions as soon as generators hold it,
  and the run's last;
- an evaluation is of one version: a generator that is examined keeps it, and gets no other meanwhile;
- training never waits for an evaluation: a version without which the next step could not be fed, or that no other
  generator would take, ends the hold, and what is then unfinished is given up.
"""

import math
from collections.abc import Sequence
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


def keeps_version(committed: int, held: int, max_staleness: int, others: int) -> bool:
    """Whether a generator that is examined may still go without newer weights.

    Args:
        committed: the learner's version.
        held: the version that is examined.
        max_staleness: how much older what is trained on may be.
        others: generators that take each version meanwhile; without one, nothing of a version later than `held` is
            generated before the hold ends.
    """
    return others > 0 or committed - held <= max_staleness
