"""How weights travel: a transport's two ends, and the groups that they meet in.

One transport a file in `transports/`, all in its table. A transport makes its own rendezvous: the learner hosts a
`Meeting`, which opens a group for each membership; what a member needs to find it there is the group's endpoint, which
the controller carries and nobody else reads. All calls block and are made from one thread at a time.
"""

from abc import ABC, abstractmethod
from typing import Protocol

import torch

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group


class Wire(ABC):
    """One member's end of one group, for as many publishes as the group lives.

    Buffers are uint8, 1-D, contiguous and on `device`. A call that needs a member which is gone, or late, raises
    TransferError within the group's timeout.
    """

    device: torch.device

    def begin(self, num_bytes: int) -> None:  # noqa: B027 most have nothing to prepare
        """A publish of so many bytes begins. Rank 0 only. Raises TransferError for one that cannot be."""

    def broadcast(self, buffer: torch.Tensor) -> int:
        """Send to all members. Rank 0 only. Returns the bytes that travelled to each, without framing of its own."""
        raise TransferError("this end of the group sends nothing: rank 0 does")

    def receive(self, buffer: torch.Tensor) -> None:
        """Fill `buffer` with what rank 0 broadcasts."""
        raise TransferError("this end of the group receives nothing: it is rank 0's")

    def lend(self, num_bytes: int) -> torch.Tensor | None:
        """In place of `receive`: what rank 0 broadcasts, where it lies already, to be read until `release`."""
        return None

    def finish(self) -> None:  # noqa: B027 most lend nothing
        """Every bucket was broadcast: returns when no member looks at what it was lent. Rank 0 only."""

    def release(self) -> None:  # noqa: B027 most lend nothing
        """This member is through with what it was lent. Raises TransferError where rank 0 has given the publish up:
        what was lent may have been written anew while it was read.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave the group, from the thread that uses it. Members still in a broadcast get an error."""


class Meeting(Protocol):
    """Where the groups of a run meet: the learner hosts it as long as it lives."""

    def open(self, group_id: str, world_size: int, timeout_seconds: float) -> Group:
        """A new group that meets here."""

    def close(self) -> None:
        """Stop hosting. Idempotent."""


class Transport(Protocol):
    """A way for weights to travel. Built from its settings on the thread whose device it is to use."""

    def host(self, address: str) -> Meeting:
        """Host the meeting at the learner; `address` is the learner's, as others reach it.

        Raises OSError when it cannot be hosted there.
        """

    def join(self, group: Group, rank: int) -> Wire:
        """Join as `rank`, which waits for all members. Raises TransferError within the group's timeout."""

    def await_arrival(self, group: Group, ranks: range) -> None:
        """Wait until the members `ranks` have come to the meeting. Raises TransferError after the group's timeout."""

    def await_joined(self, group: Group, ranks: range) -> None:
        """Wait until they have joined, which takes all members. Raises TransferError after the group's timeout."""
