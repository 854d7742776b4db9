"""What an advantage estimate is: the values it gets of a whole batch, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class AdvantageInputs:
    """A batch of n responses, their tokens packed in the order of the responses; on the CPU, the same on every rank."""

    rewards: Tensor
    """float64 [n]: outcome reward, clipped."""
    response_lengths: Tensor
    """int64 [n], each at least 1; they sum to the tokens."""
    group_index: Tensor
    """int64 [n], from 0: the group of each response."""
    behaviour_log_probs: Tensor
    """float32 [tokens]: under the policy that sampled them, which took the actions."""
    reference_log_probs: Tensor | None
    """float32 [tokens]: under the KL reference; None where the estimate does not need it."""


@dataclass(frozen=True)
class AdvantageOutputs:
    """Advantages of the batch, and the figures that the estimate brings."""

    advantages: Tensor
    """float32 [tokens]."""
    figures: Mapping[str, float]
    """By metric name."""
    says_nothing: bool = False
    """Whether rewards tell no response from another as this estimate sees them: what is left is 0 or noise."""


class Advantage(Protocol):
    """An advantage estimate: pure."""

    @property
    def needs_reference(self) -> bool:
        """Whether the KL reference has to be asked for its log-probabilities."""

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """The advantage of every response token of the batch."""
