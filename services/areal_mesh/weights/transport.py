"""The wire of a publish: join a group, broadcast or receive buffers of bytes, close.

One implementation a file beside this one: `gloo`, `nccl`. All calls block and are made from one thread at a time.
"""

from abc import ABC, abstractmethod

import torch

SENDER_RANK = 0
"""The learner's rank in every group."""


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
