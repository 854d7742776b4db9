"""Joining a group: the transport that the settings name, and a join that stalls nobody meanwhile."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.gloo import GlooTransport
from areal_mesh.weights.rendezvous import Rendezvous
from areal_mesh.weights.transport import Transport

_JOIN_SLACK_SECONDS = 10.0
"""By how much a store's client may overrun its timeout: it looks at the clock only between attempts."""

JoinTransport = Callable[[Rendezvous, int], Transport]
"""Joins as the given rank; blocks until all members have joined; raises TransferError within the timeout."""


def select_transport(backend: str, interface: str | None = None) -> JoinTransport:
    """The implementation named by the settings; NCCL on the CUDA device of the thread that calls this.

    Raises ValueError for an unknown name.
    """
    if backend == "gloo":
        return lambda rendezvous, rank: GlooTransport(rendezvous, rank, interface)
    if backend == "nccl":
        # A CPU build of torch has no NCCL to import.
        from areal_mesh.weights.nccl import NcclTransport, current_device

        device = current_device()
        return lambda rendezvous, rank: NcclTransport(rendezvous, rank, device)
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
