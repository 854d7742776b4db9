"""What a treatment of overlong responses is: the values it gets of a whole batch, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class OverlongInputs:
    """A batch of n responses; on the CPU, the same on every rank."""

    response_lengths: Tensor
    """int64 [n], each at least 1."""
    response_limits: Tensor
    """int64 [n]: most tokens that each response could have."""
    truncated: Tensor
    """bool [n]: cut by its limit."""


@dataclass(frozen=True)
class OverlongOutputs:
    """What changes for each response."""

    rewards: Tensor
    """float64 [n]: added to the outcome rewards, in units of `algorithm.reward_scale`."""
    trained: Tensor
    """bool [n]: whether the response is trained on. One that is not still counts in the rewards of its group."""
    figures: Mapping[str, float]
    """By metric name."""


class Overlong(Protocol):
    """A treatment of overlong responses: pure."""

    def __call__(self, inputs: OverlongInputs) -> OverlongOutputs:
        """What changes for each response of the batch."""
