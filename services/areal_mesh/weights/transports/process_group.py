"""What the transports over `torch.distributed` share: a process group of one's own, met at the learner's store."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import BroadcastOptions
from torch.distributed.distributed_c10d import PrefixStore

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import SENDER_RANK, Group
from areal_mesh.weights.transport import Wire
from areal_mesh.weights.transports.store import arrival_key, connect_store, joined_key


class ProcessGroupWire(Wire):
    """Never the default group: that one belongs to the learner's ranks, or to vLLM's workers."""

    def __init__(self, group: Group, rank: int) -> None:
        self._group = group
        self._timeout = timedelta(seconds=group.timeout_seconds)
        self._backend: Any = None
        store = connect_store(group)
        with self._explained("joining"):
            store.set(arrival_key(group, rank), "")
            self._backend = self._open(PrefixStore(group.group_id, store), rank)
            self._meet()
            store.set(joined_key(group, rank), "")

    @abstractmethod
    def _open(self, store: PrefixStore, rank: int) -> Any:
        """The backend of `torch.distributed`. Raises RuntimeError when the others do not come."""

    def _meet(self) -> None:
        """Wait for the other members, where opening the backend did not."""

    def broadcast(self, buffer: torch.Tensor) -> int:
        self._broadcast(buffer, "broadcasting to")
        return buffer.numel()

    def receive(self, buffer: torch.Tensor) -> None:
        self._broadcast(buffer, "receiving from")

    def close(self) -> None:
        self._backend = None

    def _broadcast(self, buffer: torch.Tensor, doing: str) -> None:
        if self._backend is None:
            raise TransferError(f"{doing} group {self._group.group_id!r}: this member has left it")
        options = BroadcastOptions()
        options.rootRank = SENDER_RANK
        options.timeout = self._timeout
        with self._explained(doing):
            # With a timeout, wait() blocks the host on GPUs too: a dead peer is an error, the buffer may be reused.
            self._backend.broadcast([buffer], options).wait(self._timeout)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Backends report a lost peer and a timeout as RuntimeError; say which group it was."""
        try:
            yield
        except RuntimeError as error:
            group = self._group
            raise TransferError(
                f"{doing} group {group.group_id!r} of {group.world_size} failed "
                f"(timeout {group.timeout_seconds:g} s): {error}"
            ) from error
