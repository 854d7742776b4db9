"""Weights over NCCL, for engines and learners on GPUs: the protocol of `gloo`, byte for byte.

Needs a CUDA build of torch and one GPU a member; on a machine without GPUs it is type-checked and never run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch.distributed import BroadcastOptions, PrefixStore

from areal_mesh.weights.rendezvous import Rendezvous
from areal_mesh.weights.store import connect_store
from areal_mesh.weights.transport import SENDER_RANK, TransferError, Transport


class NcclTransport(Transport):
    """A process group of its own on the process's current CUDA device.

    NCCL meets lazily, at the first collective: the join ends with a broadcast of one byte, so that a member that cannot
    be reached is an error here and not in the middle of a publish.
    """

    def __init__(self, rendezvous: Rendezvous, rank: int) -> None:
        try:
            from torch.distributed import ProcessGroupNCCL
        except ImportError as error:
            raise TransferError(
                "this build of torch has no NCCL; install the gpu extra or use transport gloo"
            ) from error
        if not torch.cuda.is_available():
            raise TransferError("transport nccl needs a CUDA device; use transport gloo on a CPU")
        self.device = torch.device("cuda", torch.cuda.current_device())
        self._rendezvous = rendezvous
        store = connect_store(rendezvous)
        with self._explained("joining"):
            store.set(rendezvous.arrival_key(rank), "")
            options = ProcessGroupNCCL.Options()
            options._timeout = timedelta(seconds=rendezvous.timeout_seconds)
            prefixed = PrefixStore(rendezvous.group_id, store)
            self._group: ProcessGroupNCCL | None = ProcessGroupNCCL(prefixed, rank, rendezvous.world_size, options)
        self._broadcast(torch.zeros(1, dtype=torch.uint8, device=self.device), "joining")

    def broadcast(self, buffer: torch.Tensor) -> None:
        self._broadcast(buffer, "broadcasting to")

    def receive(self, buffer: torch.Tensor) -> None:
        self._broadcast(buffer, "receiving from")

    def close(self) -> None:
        if self._group is not None:
            # abort, not shutdown: a peer may be gone, and shutdown would wait for it.
            self._group.abort()
            self._group = None

    def _broadcast(self, buffer: torch.Tensor, doing: str) -> None:
        if self._group is None:
            raise TransferError(f"{doing} group {self._rendezvous.group_id!r}: this member has left it")
        options = BroadcastOptions()
        options.rootRank = SENDER_RANK
        options.timeout = timedelta(seconds=self._rendezvous.timeout_seconds)
        with torch.cuda.device(self.device), self._explained(doing):
            # wait() with a timeout blocks the host, so that a dead peer is an error and the buffer may be reused.
            self._group.broadcast([buffer], options).wait(options.timeout)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            group = self._rendezvous
            raise TransferError(
                f"{doing} group {group.group_id!r} of {group.world_size} failed (timeout {group.timeout_seconds:g} s): "
                f"{error}"
            ) from error
