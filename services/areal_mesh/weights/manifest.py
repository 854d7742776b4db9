"""What a publish carries, and how its tensors are packed into buckets.

Pure values without torch. Invariants, each asserted by a test:

- the buckets hold every tensor once, in the manifest's order, and no two tensors overlap;
- a bucket is at most `bucket_bytes` long, unless one tensor alone is longer: that one has a bucket of its own;
- every tensor starts at a multiple of `ALIGNMENT`, so that a view of any dtype is legal;
- equal manifests give equal plans and equal fingerprints, so both ends cut the stream at the same places.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one element, by torch's name of the dtype."""

ALIGNMENT = 16
"""Bytes. The widest vector load a kernel may use on a view into a bucket."""

BUCKET_BYTES = 8 << 20
"""Long enough that a broadcast's fixed cost vanishes; longer ones leave the cache and are slower over loopback."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a publish."""

    name: str
    """Hugging Face name."""
    dtype: str
    """torch's name without the prefix: a key of `DTYPE_BYTES`."""
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BYTES:
            raise ValueError(
                f"tensor {self.name!r}: dtype {self.dtype!r} cannot be published; use one of {sorted(DTYPE_BYTES)}"
            )
        if any(size < 0 for size in self.shape):
            raise ValueError(f"tensor {self.name!r}: shape {self.shape} has a negative size")

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True)
class Slot:
    """A tensor's place in its bucket."""

    tensor: TensorSpec
    offset: int
    """Bytes from the bucket's start."""


@dataclass(frozen=True)
class Bucket:
    """A run of tensors that travel in one broadcast."""

    slots: tuple[Slot, ...]
    num_bytes: int


@dataclass(frozen=True)
class WeightManifest:
    """The tensors of one policy version, in the order of the broadcast."""

    version: int
    tensors: tuple[TensorSpec, ...]
    bucket_bytes: int = BUCKET_BYTES
    """Longest bucket, as the transport likes it."""

    def __post_init__(self) -> None:
        if self.bucket_bytes <= 0:
            raise ValueError(f"bucket_bytes must be positive, not {self.bucket_bytes}")
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"manifest of version {self.version}: tensors named twice: {twice}")

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors, padding aside."""
        return sum(tensor.num_bytes for tensor in self.tensors)

    def fingerprint(self) -> bytes:
        """SHA-256 (32 bytes) of version, names, dtypes, shapes, buckets: equal on both ends or nothing is loaded."""
        rows = [[tensor.name, tensor.dtype, list(tensor.shape)] for tensor in self.tensors]
        return hashlib.sha256(
            json.dumps([self.version, self.bucket_bytes, rows], separators=(",", ":")).encode()
        ).digest()

    def buckets(self) -> tuple[Bucket, ...]:
        """The packing plan."""
        return _pack(self.tensors, self.bucket_bytes)


def _pack(tensors: Sequence[TensorSpec], bucket_bytes: int) -> tuple[Bucket, ...]:
    buckets: list[Bucket] = []
    slots: list[Slot] = []
    end = 0
    for tensor in tensors:
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        if slots and offset + tensor.num_bytes > bucket_bytes:
            buckets.append(Bucket(tuple(slots), end))
            slots, offset = [], 0
        slots.append(Slot(tensor, offset))
        end = offset + tensor.num_bytes
    if slots:
        buckets.append(Bucket(tuple(slots), end))
    return tuple(buckets)
