"""What a policy loss reports: sums over tokens that add up over micro-batches and ranks, and the means they give."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A minibatch whose mean probability ratio exceeds this is zeroed (AReaL v0.1, `early_stop_imp_ratio`).
MAX_MEAN_RATIO = 5.0
# exp of a log-ratio beyond this is no information, and its infinite gradient times zero would be NaN.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True)
class LossStatistics:
    """Sums over the response tokens of a micro-batch, or of several put together.

    `sums` is float64 [6]: tokens, clipped tokens, ratio, KL estimate, importance weight, masked tokens;
    `weight_max` float64 [] is the largest importance weight (0 where there is no token).
    """

    sums: Tensor
    weight_max: Tensor

    @property
    def tokens(self) -> int:
        """Response tokens counted."""
        return int(self.sums[0].item())

    @property
    def clip_fraction(self) -> float:
        """Share of tokens whose loss is the clipped branch, so that they give no gradient."""
        return self._mean(1)

    @property
    def ratio_mean(self) -> float:
        """Mean of pi / pi_old (PPO) or pi / pi_prox (decoupled PPO)."""
        return self._mean(2)

    @property
    def kl(self) -> float:
        """Mean of r - log r - 1, r the ratio of `ratio_mean`: how far the minibatches moved the policy; >= 0."""
        return self._mean(3)

    @property
    def importance_weight_mean(self) -> float:
        """Mean of pi_prox / pi_behav; 1 for PPO, which applies none."""
        return self._mean(4)

    @property
    def importance_weight_max(self) -> float:
        """Largest pi_prox / pi_behav, masked tokens included."""
        return float(self.weight_max.item())

    @property
    def masked_share(self) -> float:
        """Share of tokens masked because their importance weight is over the cap."""
        return self._mean(5)

    @property
    def is_rejected(self) -> bool:
        """Whether a minibatch with these statistics is to be zeroed (a ratio that is no number counts as too large)."""
        return not self.ratio_mean <= MAX_MEAN_RATIO

    def _mean(self, position: int) -> float:
        return float((self.sums[position] / self.sums[0].clamp(min=1)).item())


def log_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Difference of two log-probabilities, bounded to +-`MAX_LOG_RATIO` so that its exponential stays finite."""
    return (numerator - denominator).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def collect(log_ratios: Tensor, clipped: Tensor, weights: Tensor, masked: Tensor) -> LossStatistics:
    """Statistics of one micro-batch from per-token values, each of shape [tokens]; no gradient is kept."""
    with torch.no_grad():
        log_ratios = log_ratios.double()
        ratios = log_ratios.exp()
        sums = torch.stack(
            [
                torch.full_like(log_ratios, 1.0).sum(),
                clipped.double().sum(),
                ratios.sum(),
                (ratios - log_ratios - 1.0).sum(),
                weights.double().sum(),
                masked.double().sum(),
            ]
        )
        largest = weights.double().max() if weights.numel() else sums.new_zeros(())
    return LossStatistics(sums, largest)


def combine(parts: Sequence[LossStatistics]) -> LossStatistics:
    """Statistics of several micro-batches or minibatches together. Raises ValueError for none."""
    if not parts:
        raise ValueError("statistics of no micro-batch: a minibatch has at least one")
    return LossStatistics(
        torch.stack([part.sums for part in parts]).sum(0), torch.stack([part.weight_max for part in parts]).max()
    )
