"""Sums of two numbers, in the order of a seed, that a small language model sometimes gets right."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from areal_mesh.runtime.made import write_made

SOURCE = "areal_mesh.recipes.sums"
LARGEST = 9
"""SmolLM2-135M gets one in seven of these sums right, and few of larger ones."""
FORMAT = 1
"""Raised when other sums come of the same seed, so that files of older code are made anew."""


def sum_lines(count: int, seed: int) -> Iterator[str]:
    """The first `count` problems of a seed as JSON lines `{"id", "problem", "answer", "source"}`; none occurs twice.

    Raises:
        ValueError: there are not so many.
    """
    pairs = [(left, right) for left in range(1, LARGEST + 1) for right in range(1, LARGEST + 1)]
    if not 0 < count <= len(pairs):
        raise ValueError(f"count is {count}; there are 1 to {len(pairs)} sums")
    random.Random(seed).shuffle(pairs)
    for left, right in pairs[:count]:
        record = {"id": f"sum-{left}-{right}", "problem": f"{left}+{right}", "answer": str(left + right)}
        yield json.dumps(record | {"source": SOURCE}) + "\n"


def write_sums(path: Path, count: int, seed: int) -> bool:
    """Write a prompt file of `count` sums; True if it was written, False if it already held exactly these.

    Raises:
        ValueError: there are not so many.
        NotMadeHere: there is a file, and no recipe made it, or it was changed since; it is left untouched.
    """
    source = {"recipe": "sums", "format": FORMAT, "count": count, "seed": seed}
    return write_made(path, lambda: "".join(sum_lines(count, seed)), source)
