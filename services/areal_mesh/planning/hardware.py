"""GPUs by name: what the makers' data sheets say of each."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """A GPU, and the network that a node gives it."""

    flops: float
    """Dense bfloat16 operations a second."""
    bandwidth: float
    """Bytes of its memory a second."""
    memory: float
    """Bytes."""
    link: float
    """Bytes a second to a GPU of the same node, one way."""
    network: float
    """Bytes a second to another node, this GPU's share."""


_GB = 1e9
HARDWARE: Mapping[str, Hardware] = {
    # 3.2 Tbit/s of RoCE a node of eight, as AReaL v0.1's tutorial has it.
    "h800": Hardware(989e12, 3350 * _GB, 80 * _GB, 200 * _GB, 50 * _GB),
    "h100": Hardware(989e12, 3350 * _GB, 80 * _GB, 450 * _GB, 50 * _GB),
    "h200": Hardware(989e12, 4800 * _GB, 141 * _GB, 450 * _GB, 50 * _GB),
    "a100": Hardware(312e12, 2039 * _GB, 80 * _GB, 300 * _GB, 25 * _GB),
    "l40s": Hardware(362e12, 864 * _GB, 48 * _GB, 32 * _GB, 12.5 * _GB),
    "rtx4090": Hardware(165e12, 1008 * _GB, 24 * _GB, 16 * _GB, 3 * _GB),
}
