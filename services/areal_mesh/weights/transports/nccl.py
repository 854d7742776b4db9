"""Weights over NCCL, for engines and learners on GPUs: the protocol of `gloo`, byte for byte.

Needs a CUDA build of torch and a GPU for each member. On a machine without them it is type-checked and never run.
"""

from typing import Any

import torch
from torch.distributed.distributed_c10d import PrefixStore

from areal_mesh.runtime.settings.weights import NcclSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.transports.process_group import ProcessGroupWire
from areal_mesh.weights.transports.store import StoreMeeting, wait_for_arrival, wait_until_joined


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
        self.device = torch.device("cuda", device)
        super().__init__(group, rank)

    def _meet(self) -> None:
        self._broadcast(torch.zeros(1, dtype=torch.uint8, device=self.device), "joining")

    def _open(self, store: PrefixStore, rank: int) -> Any:
        # A CPU build of torch has no NCCL to import.
        from torch.distributed.distributed_c10d import ProcessGroupNCCL

        options = ProcessGroupNCCL.Options()
        options._timeout = self._timeout
        return ProcessGroupNCCL(store, rank, self._group.world_size, options)

    def close(self) -> None:
        if self._backend is not None:
            # Not shutdown: that would wait for a peer that may be gone.
            self._backend.abort()
        super().close()


def current_device() -> int:
    """Index of the calling thread's CUDA device; a new thread begins on 0, whatever its maker was on."""
    return torch.cuda.current_device() if torch.cuda.is_available() else 0
