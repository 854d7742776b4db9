"""Weights over NCCL, for engines and learners on GPUs: the protocol of `gloo`, byte for byte.

Left alone, a process group of NCCL has a watchdog that ends the process when a peer is gone. Here each broadcast blocks
until its own deadline, an error is raised where it is waited for, and nothing else watches: no failure of a peer ends a
process. That is so of these groups alone; those of the learner's ranks stay as they are.

Needs a CUDA build of torch and a GPU for each member. On a machine without them it is type-checked and never run.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.distributed_c10d import PrefixStore

from areal_mesh.runtime.settings.weights import NcclSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.transports.process_group import ProcessGroupWire
from areal_mesh.weights.transports.store import StoreMeeting, wait_for_arrival, wait_until_joined

_RAISE_ERRORS = {
    # wait() blocks until the group's timeout, then aborts the communicator and raises.
    "TORCH_NCCL_BLOCKING_WAIT": "1",
    # No watchdog that ends the process for an error, a timeout, or a watchdog that hangs.
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_RETHROW_CUDA_ERRORS": "0",
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",
}
_MAKING = threading.Lock()


class Nccl:
    """The NCCL transport, on the CUDA device of the thread that builds it."""

    def __init__(self, settings: NcclSettings) -> None:
        self.settings = settings
        self._device = current_device()

    def host(self, address: str) -> StoreMeeting:
        """See `Transport`."""
        return StoreMeeting(address)

    def join(self, group: Group, rank: int) -> "NcclWire":
        """See `Transport`."""
        return NcclWire(group, rank, self._device)

    def await_arrival(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        wait_for_arrival(group, ranks)

    def await_joined(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        wait_until_joined(group, ranks)


class NcclWire(ProcessGroupWire):
    """Buffers lie on one CUDA device of the process, which becomes the joining thread's current one.

    NCCL meets at the first collective: the join ends with a broadcast of one byte, so that a member that cannot be
    reached is an error here and not in the middle of a publish.
    """

    def __init__(self, group: Group, rank: int, device: int) -> None:
        if not torch.cuda.is_available():
            raise TransferError("transport nccl needs a CUDA device; use transport gloo on a CPU")
        torch.cuda.set_device(device)
        self.device = cuda_device(device)
        super().__init__(group, rank)

    def _meet(self) -> None:
        self._broadcast(torch.zeros(1, dtype=torch.uint8, device=self.device), "joining")

    def _open(self, store: PrefixStore, rank: int) -> Any:
        # A CPU build of torch has no NCCL to import.
        from torch.distributed.distributed_c10d import ProcessGroupNCCL

        options = ProcessGroupNCCL.Options()
        options._timeout = self._timeout
        with errors_are_raised():
            return ProcessGroupNCCL(store, rank, self._group.world_size, options)

    def close(self) -> None:
        if self._backend is not None:
            # Not shutdown: that would wait for a peer that may be gone.
            self._backend.abort()
        super().close()


@contextmanager
def errors_are_raised() -> Iterator[None]:
    """A process group that is made meanwhile raises its errors in `wait`, and ends no process.

    The group reads the process's environment as it is made; afterwards that is as it was.
    """
    with _MAKING:
        before = {name: os.environ.get(name) for name in _RAISE_ERRORS}
        os.environ.update(_RAISE_ERRORS)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def cuda_device(index: int) -> torch.device:
    """The device of that index."""
    return torch.device("cuda", index)


def current_device() -> int:
    """Index of the calling thread's CUDA device; a new thread begins on 0, whatever its maker was on."""
    return torch.cuda.current_device() if torch.cuda.is_available() else 0
