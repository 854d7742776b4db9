"""Reads the weights of a model folder as bytes and finds what no model computes with: NaN, infinity, damaged files.

No torch: safetensors is a header of JSON, then numbers, and a float that is none has all its exponent's bits set.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_MOST_SECONDS = 60.0
"""Of one look at a folder: a model of some 50 GB on a fast disk. The learner looks at all of them as it loads."""
_CHUNK_BYTES = 16 << 20
_LONGEST_HEADER = 100 << 20
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class _Float:
    """A format of floats: the bits of the exponent, all of which are set in NaN and infinity."""

    numpy: str
    exponent: int
    """0: the format has no infinity, and is NaN where all bits but the sign's are set."""


_FLOATS: Mapping[str, _Float] = {
    "F64": _Float("<u8", 0x7FF << 52),
    "F32": _Float("<u4", 0xFF << 23),
    "F16": _Float("<u2", 0x1F << 10),
    "BF16": _Float("<u2", 0xFF << 7),
    "F8_E5M2": _Float("u1", 0x1F << 2),
    "F8_E4M3": _Float("u1", 0),
}


def weight_faults(folder: Path) -> Iterator[str]:
    """The first weight of each file that is not finite, and files that cannot be read, a line each.

    Ends without a word on the rest after a minute: a learner that loads them finds what is left.
    """
    until = time.monotonic() + _MOST_SECONDS
    for file in sorted(folder.glob("*.safetensors")):
        try:
            name = _first_that_is_not_finite(file, until)
        except (OSError, ValueError) as error:
            yield f"{file}: cannot be read as safetensors: {error}; copy it anew"
            continue
        if name is not None:
            yield f"{file}: the weight {name} holds NaN or infinity, so that nothing can be sampled; copy it anew"
        if time.monotonic() > until:
            print(f"{folder}: not all weights were looked at within {_MOST_SECONDS:.0f} s", file=sys.stderr, flush=True)
            return


def _first_that_is_not_finite(file: Path, until: float) -> str | None:
    with file.open("rb") as stream:
        tensors, begin = _header(stream, file.stat().st_size)
        for name, (kind, start, end) in tensors.items():
            if kind in _FLOATS and not _finite(stream, _FLOATS[kind], begin + start, begin + end, until):
                return name
    return None


def _header(stream: IO[bytes], size: int) -> tuple[dict[str, tuple[str, int, int]], int]:
    """Each tensor's type, first byte and the one after its last, in the order of the file; and where bytes begin.

    Raises:
        ValueError: the file is none of safetensors, or shorter than it says.
    """
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if not 0 < length <= min(_LONGEST_HEADER, size - _LENGTH_BYTES):
        raise ValueError("its header is damaged or cut off")
    described = json.loads(stream.read(length))
    begin = _LENGTH_BYTES + length
    try:
        tensors = {
            name: (str(tensor["dtype"]), int(tensor["data_offsets"][0]), int(tensor["data_offsets"][1]))
            for name, tensor in described.items()
            if name != "__metadata__"
        }
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"its header names no {error}" if isinstance(error, KeyError) else "its header is damaged"
        ) from error
    ends = max((end for _, _, end in tensors.values()), default=0)
    if begin + ends > size:
        raise ValueError(f"it holds {size:,} bytes of {begin + ends:,}")
    return dict(sorted(tensors.items(), key=lambda tensor: tensor[1][1])), begin


def _finite(stream: IO[bytes], kind: _Float, start: int, end: int, until: float) -> bool:
    import numpy as np

    stream.seek(start)
    left = end - start
    while left > 0 and time.monotonic() < until:
        chunk = stream.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise ValueError("it was cut off while it was read")
        left -= len(chunk)
        if _any_special(np.frombuffer(chunk, dtype=kind.numpy), kind.exponent):
            return False
    return True


def _any_special(numbers: "np.ndarray", exponent: int) -> bool:
    if exponent == 0:
        return bool(((numbers & 0x7F) == 0x7F).any())
    mask = numbers.dtype.type(exponent)
    return bool(((numbers & mask) == mask).any())
