"""Memory without a name that processes of one host share: it is handed over as a file descriptor.

It is gone with the last process that maps it.
"""

import mmap
import os
import threading
import weakref
from itertools import count

import torch

_NUMBERS = count(1)
_LIVING: "weakref.WeakSet[SharedMemory]" = weakref.WeakSet()
_LOCK = threading.Lock()


class SharedMemory:
    """So many bytes, as a tensor (uint8, 1-D); pages are taken when they are first written."""

    def __init__(self, num_bytes: int) -> None:
        self.number = next(_NUMBERS)
        """Tells it from the others of this process."""
        self.descriptor = os.memfd_create("areal-mesh-weights", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, num_bytes)
        self.tensor = mapped(self.descriptor, num_bytes)
        with _LOCK:
            _LIVING.add(self)

    def offset_of(self, buffer: torch.Tensor) -> int | None:
        """Where in it a contiguous tensor begins, in bytes; None where it lies elsewhere."""
        offset = buffer.data_ptr() - self.tensor.data_ptr()
        return offset if 0 <= offset <= self.tensor.nbytes - buffer.nbytes else None


def found_in(buffer: torch.Tensor) -> tuple[SharedMemory, int] | None:
    """The shared memory of this process that a contiguous tensor lies in, and where; None where it lies in none."""
    with _LOCK:
        living = list(_LIVING)
    for memory in living:
        offset = memory.offset_of(buffer)
        if offset is not None:
            return memory, offset
    return None


def mapped(descriptor: int, num_bytes: int) -> torch.Tensor:
    """Shared memory as a tensor, which keeps the mapping; the descriptor is needed no more."""
    return torch.frombuffer(mmap.mmap(descriptor, num_bytes), dtype=torch.uint8)
