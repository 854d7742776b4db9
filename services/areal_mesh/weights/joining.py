"""A join that stalls nobody meanwhile."""

from concurrent.futures import Future, ThreadPoolExecutor

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.transport import Transport, Wire

_JOIN_SLACK_SECONDS = 10.0
"""By how much a join may overrun its group's timeout: a store's client looks at the clock only between attempts."""


class PendingWire:
    """A join under way on a thread of its own, so that a member that is late stalls nobody's work.

    The thread ends within the group's timeout, whatever the peers do.
    """

    def __init__(self, transport: Transport, group: Group, rank: int) -> None:
        self.group = group
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"weights-{group.group_id}")
        self._joined: Future[Wire] = self._executor.submit(transport.join, group, rank)
        self._closed = False

    def wait(self) -> Wire:
        """The joined group. Raises TransferError."""
        try:
            # Reaching the meeting and meeting the members each have the timeout, and report better than this does.
            return self._joined.result(timeout=2 * self.group.timeout_seconds + _JOIN_SLACK_SECONDS)
        except TimeoutError as error:
            raise TransferError(f"group {self.group.group_id!r} was not joined in time") from error

    def close(self) -> None:
        """Leave the group as soon as the join has ended, without waiting for it. Idempotent."""
        if not self._closed:
            self._closed = True
            # On the thread that joined: leaving a group whose members never came takes a backend up to its timeout.
            self._executor.submit(_close_joined, self._joined)
            self._executor.shutdown(wait=False)


def _close_joined(joined: Future[Wire]) -> None:
    if not joined.cancelled() and joined.exception() is None:
        joined.result().close()
