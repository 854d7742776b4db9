"""The bound on the bytes of groups that wait to be drawn: what it refuses, and whether a batch can ever fit in it."""

import time

from areal_mesh.replay.events import GroupSummary
from areal_mesh.runtime.errors import failed_precondition, invalid_argument, resource_exhausted

# Room comes with the learner's next draw: often enough to fill it at once, rarely enough to cost nothing.
_FULL_RETRY_SECONDS = 0.5
# So long nothing was stored and nothing drawn while a group was refused: then the batch does not fit.
_STUCK_SECONDS = 120.0


class WaitingRoom:
    """Room for `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._refused_bytes = 0
        self._refused_since = 0.0

    @property
    def refuses(self) -> bool:
        """Whether a group was refused, and nothing was stored or drawn since."""
        return self._refused_bytes > 0

    def check(self, group: GroupSummary, held: int) -> None:
        """Raises INVALID_ARGUMENT for a group that could never fit, RESOURCE_EXHAUSTED where it does not now.

        `held`: bytes of the groups that wait or are being stored.
        """
        if group.size > self.limit:
            raise invalid_argument(
                "group", f"{group.size} bytes are more than replay.waiting_bytes = {self.limit}; raise that setting"
            )
        if held + group.size > self.limit:
            if not self._refused_bytes:
                self._refused_since = time.monotonic()
            self._refused_bytes = group.size
            raise resource_exhausted(
                f"{held} bytes of groups wait to be drawn, and {group.size} more pass replay.waiting_bytes = "
                f"{self.limit}; try again when the learner has drawn",
                _FULL_RETRY_SECONDS,
            )

    def changed(self) -> None:
        """A group was stored, or some left."""
        self._refused_bytes = 0

    def check_batch_fits(self, batch_groups: int, groups: int, held: int) -> None:
        """Raises FAILED_PRECONDITION where the room is full of too few groups, `groups` of `held` bytes.

        It would stay so: the learner waits for the room, and the room for the learner.
        """
        # For a while smaller groups may still come, which fit.
        stuck = self._refused_bytes and time.monotonic() - self._refused_since >= _STUCK_SECONDS
        if stuck and held + self._refused_bytes > self.limit:
            raise failed_precondition(
                f"the {groups} waiting groups fill replay.waiting_bytes = {self.limit}, and a batch needs "
                f"{batch_groups}; raise that setting"
            )
