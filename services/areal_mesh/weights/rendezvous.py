"""Where a broadcast group meets. Plain values, without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rendezvous:
    """One group: its members meet at a store that the learner's rank 0 hosts.

    A group is never changed: another membership is another group, under another `group_id`.
    """

    host: str
    port: int
    group_id: str
    """Differs for every group that is built."""
    world_size: int
    """The learner (rank 0) and every engine worker."""
    timeout_seconds: float
    """Deadline of the join and of each broadcast: a dead peer is an error within it."""

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ValueError(f"rendezvous {self.group_id!r}: port {self.port} is not a TCP port")
        if self.world_size < 2:
            raise ValueError(
                f"rendezvous {self.group_id!r}: world_size is {self.world_size}; the learner and a worker make 2"
            )
        if self.timeout_seconds <= 0:
            raise ValueError(
                f"rendezvous {self.group_id!r}: timeout_seconds must be positive, not {self.timeout_seconds}"
            )

    def arrival_key(self, rank: int) -> str:
        """Key that member `rank` sets in the store once it has reached it."""
        return f"{self.group_id}/arrived/{rank}"
