"""The points at which scalars with letters are compared, and what a few points cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from hashlib import blake2b
from typing import Final

from areal_mesh.grading.equality.integers import WHOLE_NAMES, speak_of_integers
from areal_mesh.grading.equality.kinks import has_kinks
from areal_mesh.grading.trees.nodes import Node, symbols

SAMPLES: Final = 8
"""Points at which scalars with symbols are compared: three near with every symbol positive, two near with mixed signs,
and three far from zero: all negative, all positive, mixed."""
POSITIVE_SAMPLES: Final = 3
COMPLEX_SAMPLE: Final = SAMPLES
"""A point at which names of complex numbers have complex values, where a modulus or a part is taken."""
SIGNED_SAMPLES: Final = SAMPLES + 25
"""Where a function has a kink, points of many patterns of signs are added, and then whole and far ones."""
_WIDE: Final = (0, 3, 3, 12, 12, 1e-6, -1e-6, 1e-3, 1e-4, 1e6, 2e6, 3e6, -1e6, 1e13, -1e13, 1e24, -1e24)
"""About the size of the symbols at the points after those, up to a factor of two hundred; below a million, the bound
on their size, and they are whole."""
SEEN: Final = (Fraction(1, 10**8), Fraction(10**20))
"""Sizes of the numbers between which a kink would be seen."""
NEAR_SAMPLES: Final = 5
_RANGES: Final = ((0.4, 1.7),) * NEAR_SAMPLES + ((6, 31), (6, 31), (150, 1100))
_ONE_SIGN: Final = {5: -1, 6: 1, COMPLEX_SAMPLE: 1}
_COMPLEX_NAMES: Final = frozenset("zw")
WHOLE: Final = 1_000
"""The first of the points at which letters that usually name integers are whole numbers, and the others positive."""
_WHOLE_POINTS: Final = 41
"""A prime: the values of a letter run through all numbers up to it, each letter in steps of its own."""


def sample(name: str, index: int) -> float:
    """The value that a symbol takes at a sample point; the same name has the same value in every expression."""
    if index >= WHOLE:
        return _whole_sample(name, index - WHOLE)
    fraction, sign, magnitude = _hashed(name, index)
    if index >= SIGNED_SAMPLES:
        return _wide_sample(_WIDE[index - SIGNED_SAMPLES], fraction, magnitude)
    least, width = _RANGES[index] if index < SAMPLES else _RANGES[0]
    value = (least + width * fraction) * (magnitude / 10 if index > COMPLEX_SAMPLE else 1)
    if index in _ONE_SIGN:
        return _ONE_SIGN[index] * value
    return -value if index >= POSITIVE_SAMPLES and sign < 0 else value


def complex_sample(name: str, index: int) -> complex:
    """As `sample`, with an imaginary part for the name of a complex number at the complex point."""
    return complex(sample(name, index), 0.7 if index == COMPLEX_SAMPLE and name in _COMPLEX_NAMES else 0.0)


@cache
def _hashed(name: str, index: int) -> tuple[float, int, float]:
    """(fraction of one, sign, factor of size) of a name at a point, unlike those of any other."""
    digest = blake2b(f"{name}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little") / 2**32, 1 - 2 * (digest[4] % 2), 10.0 ** (digest[5] % 3)


def _wide_sample(size: float, fraction: float, magnitude: float) -> float:
    if abs(size) >= 1 and abs(size) < 1e6:
        return float(round((2 * fraction - 1) * size))
    return size * (1 + fraction) * magnitude


def _whole_sample(name: str, index: int) -> float:
    if name not in WHOLE_NAMES:
        return sample(name, index % POSITIVE_SAMPLES)
    step, start = 1 + int(39 * _hashed(name, 0)[0]), int(41 * _hashed(name, 1)[0])
    return float(1 + (start + index * step) % _WHOLE_POINTS)


def is_positive(index: int) -> bool:
    """Whether all letters are positive at a point, or complex where they may be: values need not be real there."""
    return index < POSITIVE_SAMPLES or index == COMPLEX_SAMPLE or index >= WHOLE


def decisive_points(left: Node, right: Node) -> Sequence[int]:
    """The points at which two scalars are worked out to many digits, the best first."""
    if speak_of_integers(left, right):
        return range(WHOLE + 2, WHOLE + 12)
    return (0, 3, 1, 4, 2) if symbols(left) | symbols(right) else (0,)


def sample_points(left: Node, right: Node) -> Sequence[int]:
    """The points at which two scalars are compared; more of them where one has a kink."""
    names = symbols(left) | symbols(right)
    if speak_of_integers(left, right):
        return range(WHOLE, WHOLE + _WHOLE_POINTS)
    if names and (has_kinks(left) or has_kinks(right)):
        # `|ab|` is ab wherever a and b have one sign, and the floor of x is its ceiling where x is whole.
        return range(SIGNED_SAMPLES + len(_WIDE))
    return range(SAMPLES if names else 1)
