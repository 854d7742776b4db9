"""Weights over NCCL, for engines and learners on GPUs: the protocol of `gloo`, byte for byte.

Needs a CUDA build of torch and a GPU for each member. On a machine without them it is type-checked and never run.
"""

import torch
from torch.distributed.distributed_c10d import PrefixStore, ProcessGroupNCCL

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.process_group import ProcessGroupTransport
from areal_mesh.weights.rendezvous import Rendezvous


class NcclTransport(ProcessGroupTransport):
    """Buffers lie on one CUDA device of the process, which becomes the joining thread's current one.

    NCCL meets at the first collective: the join ends with a broadcast of one byte, so that a member that cannot be
    reached is an error here and not in the middle of a publish.
    """

    def __init__(self, rendezvous: Rendezvous, rank: int, device: int) -> None:
        if not torch.cuda.is_available():
            raise TransferError("transport nccl needs a CUDA device; use transport gloo on a CPU")
        torch.cuda.set_device(device)
        self.device = torch.device("cuda", device)
        super().__init__(rendezvous, rank)
        self._broadcast(torch.zeros(1, dtype=torch.uint8, device=self.device), "joining")

    def _open(self, store: PrefixStore, rank: int) -> ProcessGroupNCCL:
        options = ProcessGroupNCCL.Options()
        options._timeout = self._timeout
        return ProcessGroupNCCL(store, rank, self._rendezvous.world_size, options)

    def close(self) -> None:
        if self._group is not None:
            # Not shutdown: that would wait for a peer that may be gone.
            self._group.abort()
        super().close()


def current_device() -> int:
    """Index of the calling thread's CUDA device; a new thread begins on 0, whatever its maker was on."""
    return torch.cuda.current_device() if torch.cuda.is_available() else 0
