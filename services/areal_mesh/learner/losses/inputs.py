"""What a policy loss is: the values it gets of a micro-batch, and what it gives back."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from areal_mesh.learner.losses.figures import TokenFigures


@dataclass(frozen=True)
class LossInputs:
    """The response tokens of one micro-batch; float32 [tokens] each, constants but for `log_probs`."""

    log_probs: Tensor
    """Under the policy that is trained, with gradient."""
    behaviour_log_probs: Tensor
    """Under the policy that sampled them."""
    proximal_log_probs: Tensor | None
    """Under the policy before the step; None for a loss that does not need them."""
    reference_log_probs: Tensor | None
    """Under the KL reference; None for a loss that does not need them."""
    advantages: Tensor
    token_weights: Tensor
    """What a token's loss counts in the mean over the global minibatch, on all ranks (see `averaging`)."""
    response_lengths: Tensor
    """int64 [responses]: they sum to the tokens."""


@dataclass(frozen=True)
class LossOutputs:
    """A micro-batch's share of the minibatch's loss, and the figures it brings."""

    loss: Tensor
    """float32 [], a sum over tokens by `token_weights`: shares add up over micro-batches and ranks."""
    figures: TokenFigures
    """`ratio_mean` and `policy_kl` of every loss (see `ratio_figures`), and its own."""


class Loss(Protocol):
    """A policy loss: pure, on packed 1-D tensors."""

    @property
    def needs_proximal(self) -> bool:
        """Whether the policy before the step has to be asked for its log-probabilities of the whole batch."""

    @property
    def needs_reference(self) -> bool:
        """Whether the KL reference has to be asked for them."""

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """The loss of one micro-batch."""
