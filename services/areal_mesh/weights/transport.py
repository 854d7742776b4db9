"""The wire of a publish: join a group, broadcast or receive buffers of bytes, close.

One implementation a file beside this one: `gloo`, `nccl`. All calls block and are made from one thread at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.rendezvous import Rendezvous

__all__ = ["SENDER_RANK", "JoinTransport", "PendingTransport", "TransferError", "Transport", "select_transport"]

SENDER_RANK = 0
"""The learner's rank in every group."""

_JOIN_SLACK_SECONDS = 10.0
"""By how much a store's client may overrun its timeout: it looks at the clock only between attempts."""


class Transport(ABC):
    """One member's end of one group."""

    device: torch.device
    """Where the buffers lie."""

    @abstractmethod
    def broadcast(self, buffer: torch.Tensor) -> None:
        """Send `buffer` (uint8, 1-D, contiguous, on `device`) to all members. Rank 0 only.

        Raises TransferError within the group's timeout when a member is gone.
        """

    @abstractmethod
    def receive(self, buffer: torch.Tensor) -> None:
        """Fill `buffer` (uint8, 1-D, contiguous, on `device`) with what rank 0 broadcasts.

        Raises TransferError within the group's timeout when rank 0 or a member is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave the group. Members still in a broadcast get an error."""


JoinTransport = Callable[[Rendezvous, int], Transport]
"""Joins as the given rank; blocks until all members have joined; raises TransferError within the timeout."""


def select_transport(backend: str, interface: str | None = None) -> JoinTransport:
    """The implementation named by the settings. Raises ValueError for an unknown name."""
    if backend == "gloo":
        from areal_mesh.weights.gloo import GlooTransport

        return lambda rendezvous, rank: GlooTransport(rendezvous, rank, interface)
    if backend == "nccl":
        from areal_mesh.weights.nccl import NcclTransport

        return NcclTransport
    raise ValueError(f"weight transport {backend!r} is unknown; use gloo or nccl")


class PendingTransport:
    """A join under way on a thread of its own, so that a member that is late stalls nobody's work.

    The thread ends within the rendezvous' timeout, whatever the peers do.
    """

    def __init__(self, join: JoinTransport, rendezvous: Rendezvous, rank: int) -> None:
        self.rendezvous = rendezvous
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"weights-{rendezvous.group_id}")
        self._joined: Future[Transport] = self._executor.submit(join, rendezvous, rank)

    def wait(self) -> Transport:
        """The joined transport. Raises TransferError."""
        try:
            # Reaching the store and meeting the members each have the timeout, and report better than this does.
            return self._joined.result(timeout=2 * self.rendezvous.timeout_seconds + _JOIN_SLACK_SECONDS)
        except TimeoutError as error:
            raise TransferError(f"group {self.rendezvous.group_id!r} was not joined in time") from error

    def close(self) -> None:
        """Leave the group, at once or as soon as the join ends. Idempotent."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._joined.add_done_callback(_close_joined)


def _close_joined(joined: Future[Transport]) -> None:
    if not joined.cancelled() and joined.exception() is None:
        joined.result().close()
