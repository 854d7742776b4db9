"""How a curve of steps is told in two figures."""

from collections.abc import Sequence
from statistics import fmean

_ENDS = 5
"""Steps at most whose mean is a curve's first or last figure."""


def first_and_last(values: Sequence[float | None]) -> dict[str, float | None]:
    """Means over the first and the last few steps that have a value; None where none has.

    No step is at both ends, but for the only one.
    """
    there = [value for value in values if value is not None]
    count = max(1, min(_ENDS, len(there) // 2))
    return {"first": mean(there[:count]), "last": mean(there[-count:])}


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values there are; None for none."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
