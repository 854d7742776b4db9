"""Several files of problems mixed by weight: which file a sequence number is out of, and the how-manieth of it. Pure.

A cycle of picks repeats for ever (smooth weighted round robin), so that the answer takes constant time and memory, and
the same in every life of a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_CYCLE = 1000
"""Picks until they repeat: shares are kept to a thousandth."""


@dataclass(frozen=True)
class Mixture:
    """The picks of one cycle."""

    picks: tuple[int, ...]
    """File of each."""
    ranks: tuple[int, ...]
    """Picks of the same file before it, in the cycle."""
    counts: tuple[int, ...]
    """Picks of each file in a cycle."""

    def of(self, sequence: int) -> tuple[int, int]:
        """File of a sequence number, and how many before it were of the same file."""
        cycle, place = divmod(sequence, len(self.picks))
        file = self.picks[place]
        return file, cycle * self.counts[file] + self.ranks[place]


def mixture(weights: Sequence[float]) -> Mixture:
    """The mixture by these weights, all positive; of one file alone each number is its own."""
    cycle = _CYCLE if len(weights) > 1 else 1
    owed = [0.0] * len(weights)
    counts = [0] * len(weights)
    picks, ranks = [], []
    for _ in range(cycle):
        owed = [sum_ + weight for sum_, weight in zip(owed, weights, strict=True)]
        file = max(range(len(weights)), key=lambda index: owed[index])
        owed[file] -= sum(weights)
        picks.append(file)
        ranks.append(counts[file])
        counts[file] += 1
    return Mixture(tuple(picks), tuple(ranks), tuple(counts))
