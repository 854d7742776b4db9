"""The members that weights are sent to together. Plain values, without torch."""

from dataclasses import dataclass, field

SENDER_RANK = 0
"""The learner's rank in every group."""


@dataclass(frozen=True)
class Group:
    """A membership. Never changed: another membership is another group, of another id.

    It is joined once, and carries publishes as long as all of its members live.

    Raises:
        ValueError: for a value out of range.
    """

    group_id: str
    """Differs for every group that is opened."""
    endpoint: str = field(repr=False)
    """Where the members meet, as a URI of the transport's own; it may hold the group's token, so it is never shown."""
    world_size: int
    """The learner (rank 0) and every engine worker."""
    timeout_seconds: float
    """Deadline of the join and of each broadcast: a dead peer is an error within it."""

    def __post_init__(self) -> None:
        if not self.group_id:
            raise ValueError("group_id is empty; every group has a name of its own")
        if self.world_size < 2:
            raise ValueError(
                f"group {self.group_id!r}: world_size is {self.world_size}; the learner and a worker make 2"
            )
        if self.timeout_seconds <= 0:
            raise ValueError(f"group {self.group_id!r}: timeout_seconds must be positive, not {self.timeout_seconds}")
