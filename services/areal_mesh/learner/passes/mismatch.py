"""How far the learner's log-probabilities are from those the engine sampled with, where both have the same weights.

    mismatch_kl = mean over tokens of r - log r - 1,    r = pi_learner / pi_behaviour

the k3 estimate (Schulman 2020) of KL(behaviour || learner): never negative, zero where the two agree. On fresh tokens
(version = the learner's) it measures kernels, precision and temperature handling alone; on all tokens staleness too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.losses.figures import log_ratio


@dataclass(frozen=True)
class Mismatch:
    """Sums behind the estimate; `sums` float64 [4]: fresh k3, fresh tokens, all k3, all tokens. They add over ranks."""

    sums: Tensor

    @property
    def fresh(self) -> float | None:
        """Mean over fresh tokens; None if there is none."""
        return self._mean(0)

    @property
    def overall(self) -> float | None:
        """Mean over all tokens; None if there is none."""
        return self._mean(2)

    def _mean(self, position: int) -> float | None:
        total, tokens = self.sums[position : position + 2].tolist()
        return total / tokens if tokens else None


def measure(learner_log_probs: Tensor, behaviour_log_probs: Tensor, fresh: Tensor) -> Mismatch:
    """Sums over one micro-batch.

    Log-probabilities [tokens]; fresh: bool [tokens], of responses that the learner's version sampled whole.
    """
    difference = log_ratio(learner_log_probs.detach().double(), behaviour_log_probs.double())
    estimate = difference.exp() - difference - 1.0
    share = fresh.double()
    return Mismatch(
        torch.stack([(estimate * share).sum(), share.sum(), estimate.sum(), torch.ones_like(estimate).sum()])
    )


def combine(parts: Sequence[Mismatch]) -> Mismatch:
    """Sums over several micro-batches. Raises ValueError for none."""
    if not parts:
        raise ValueError("mismatch of no micro-batch: measure at least one")
    return Mismatch(torch.stack([part.sums for part in parts]).sum(0))
