"""How far the learner's log-probabilities are from those the engine sampled with, where both have the same weights.

    mismatch_kl = mean over tokens of r - log r - 1,    r = pi_learner / pi_behaviour

the k3 estimate (Schulman 2020) of KL(behaviour || learner): never negative, zero where the two agree. On fresh tokens
(version = the learner's) it measures kernels, precision and temperature handling alone; on all tokens, and on those of
each version span by its age, staleness too. A mean hides a few tokens that are far off, so that the tail of |log r| on
fresh tokens is measured as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.losses.figures import log_ratio
from areal_mesh.learner.model.parallel import Parallel

OLDEST_AGE = 8
"""Versions behind the learner that are told apart; older spans count with these."""
_SMALLEST, _BINS_PER_OCTAVE, _BINS = 2.0**-34, 8, 8 * 40
"""|log r| is counted in bins from 6e-11 to 64, each 9 % wide: what the 99th percentile is known to."""


@dataclass(frozen=True)
class Mismatch:
    """What the figures are made from; sums add over micro-batches and ranks, and so do counts."""

    sums: Tensor
    """float64 [4]: fresh k3, fresh tokens, all k3, all tokens."""
    ages: Tensor
    """float64 [2, OLDEST_AGE + 1]: k3 and tokens by age of the version span, in versions behind the learner."""
    bins: Tensor
    """float64 [_BINS + 1]: fresh tokens by |log r|; the first bin holds those under the smallest."""
    largest: Tensor
    """float64 []: largest |log r| of a fresh token, 0 where there is none."""

    @property
    def fresh(self) -> float | None:
        """Mean over fresh tokens; None if there is none."""
        return self._mean(0)

    @property
    def overall(self) -> float | None:
        """Mean over all tokens; None if there is none."""
        return self._mean(2)

    def figures(self) -> dict[str, float]:
        """By metric name; what no token was measured for is left out."""
        found = {"mismatch_kl": self.fresh, "mismatch_kl_all": self.overall}
        for age, (total, tokens) in enumerate(self.ages.T.tolist()):
            found[f"mismatch_kl_age_{age}"] = total / tokens if tokens else None
        if self.fresh is not None:
            found |= {"mismatch_p99": self.percentile(0.99), "mismatch_max": float(self.largest)}
        return {name: value for name, value in found.items() if value is not None}

    def percentile(self, share: float) -> float:
        """|log r| that so large a share of the fresh tokens is not over, to 9 %; 0 where it is under 6e-11."""
        reached = torch.searchsorted(self.bins.cumsum(0), share * self.bins.sum())
        edge = _SMALLEST * 2.0 ** (int(reached) / _BINS_PER_OCTAVE)
        return 0.0 if int(reached) == 0 else min(edge, float(self.largest))

    def over_ranks(self, parallel: Parallel) -> "Mismatch":
        """Of all ranks together; called by all."""
        flat = torch.cat([self.sums, self.ages.flatten(), self.bins])
        sums, ages, bins = torch.split(parallel.sum(flat), [4, self.ages.numel(), self.bins.numel()])
        return Mismatch(sums, ages.view_as(self.ages), bins, parallel.maximum(self.largest))

    def _mean(self, position: int) -> float | None:
        total, tokens = self.sums[position : position + 2].tolist()
        return total / tokens if tokens else None


def measure(learner_log_probs: Tensor, behaviour_log_probs: Tensor, fresh: Tensor, ages: Tensor) -> Mismatch:
    """Of one micro-batch.

    Log-probabilities [tokens]; fresh: bool [tokens], of responses that the learner's version sampled whole; ages: int64
    [tokens], versions between the one that sampled the token and the learner's.
    """
    difference = log_ratio(learner_log_probs.detach().double(), behaviour_log_probs.double())
    estimate = difference.exp() - difference - 1.0
    share, one = fresh.double(), torch.ones_like(estimate)
    by_age = torch.zeros(2, OLDEST_AGE + 1, dtype=torch.float64, device=estimate.device)
    by_age.index_add_(1, ages.clamp(0, OLDEST_AGE), torch.stack([estimate, one]))
    size = difference.abs()
    octaves = (size.clamp_min(_SMALLEST / 2) / _SMALLEST).log2() * _BINS_PER_OCTAVE
    bins = torch.zeros(_BINS + 1, dtype=torch.float64, device=estimate.device)
    bins.index_add_(0, octaves.ceil().long().clamp(0, _BINS), share)
    largest = (size * share).max() if size.numel() else size.new_zeros(())
    sums = torch.stack([(estimate * share).sum(), share.sum(), estimate.sum(), one.sum()])
    return Mismatch(sums, by_age, bins, largest)


def combine(parts: Sequence[Mismatch]) -> Mismatch:
    """Of several micro-batches. Raises ValueError for none."""
    if not parts:
        raise ValueError("mismatch of no micro-batch: measure at least one")
    return Mismatch(
        torch.stack([part.sums for part in parts]).sum(0),
        torch.stack([part.ages for part in parts]).sum(0),
        torch.stack([part.bins for part in parts]).sum(0),
        torch.stack([part.largest for part in parts]).max(),
    )
