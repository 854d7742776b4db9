"""Figures that a policy loss brings: sums over tokens that add up over micro-batches and ranks, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A minibatch whose mean probability ratio exceeds this is zeroed (AReaL v0.1, `early_stop_imp_ratio`).
MAX_MEAN_RATIO = 5.0
# exp of a log-ratio beyond this is no information, and its infinite gradient times zero would be NaN.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True)
class TokenFigures:
    """Figures over the response tokens of a micro-batch, or of several put together; float64 [] each.

    The names are those of the metrics. Every part of a step has the same names.
    """

    tokens: Tensor
    """Response tokens counted."""
    sums: Mapping[str, Tensor]
    """By the name of the mean over tokens."""
    maxima: Mapping[str, Tensor]
    """0 where there is no token."""

    def mean(self, name: str) -> float:
        """A figure's mean over tokens; 0 where there is no token."""
        return float((self.sums[name] / self.tokens.clamp(min=1)).item())

    def values(self) -> dict[str, float]:
        """Every figure by name."""
        means = {name: self.mean(name) for name in self.sums}
        return means | {name: float(value.item()) for name, value in self.maxima.items()}

    @property
    def is_rejected(self) -> bool:
        """Whether a minibatch with these figures is to be zeroed (a ratio that is no number counts as too large)."""
        return not self.mean("ratio_mean") <= MAX_MEAN_RATIO


def measure(sums: Mapping[str, Tensor], maxima: Mapping[str, Tensor] | None = None) -> TokenFigures:
    """Figures of one micro-batch from per-token values, each of shape [tokens]; no gradient is kept."""
    with torch.no_grad():
        added = {name: values.detach().double().sum() for name, values in sums.items()}
        largest = {name: _largest(values.detach().double()) for name, values in (maxima or {}).items()}
        some = next(iter(sums.values()))
        tokens = torch.full_like(some, 1.0, dtype=torch.float64).sum()
    return TokenFigures(tokens, added, largest)


def ratio_figures(log_ratios: Tensor) -> dict[str, Tensor]:
    """Per-token values of what every loss measures of its ratio r between two policies, [tokens].

    `ratio_mean`: mean of r; `policy_kl`: mean of r - log r - 1, how far the minibatches moved the policy; >= 0.
    """
    log_ratios = log_ratios.detach().double()
    ratios = log_ratios.exp()
    return {"ratio_mean": ratios, "policy_kl": ratios - log_ratios - 1.0}


def log_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Difference of two log-probabilities, bounded to +-`MAX_LOG_RATIO` so that its exponential stays finite."""
    return (numerator - denominator).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def constant(values: Tensor) -> Tensor:
    """The same values, without gradient: a factor that a loss takes for a constant."""
    return values.detach()


def also(figures: TokenFigures, sums: Mapping[str, Tensor]) -> TokenFigures:
    """Further figures over the same tokens, from per-token values."""
    return TokenFigures(figures.tokens, {**figures.sums, **measure(sums).sums}, figures.maxima)


def combine(parts: Sequence[TokenFigures]) -> TokenFigures:
    """Figures of several micro-batches or minibatches together. Raises ValueError for none."""
    if not parts:
        raise ValueError("figures of no micro-batch: a minibatch has at least one")
    return TokenFigures(
        torch.stack([part.tokens for part in parts]).sum(),
        {name: torch.stack([part.sums[name] for part in parts]).sum() for name in parts[0].sums},
        {name: torch.stack([part.maxima[name] for part in parts]).max() for name in parts[0].maxima},
    )


def _largest(values: Tensor) -> Tensor:
    return values.max() if values.numel() else values.new_zeros(())
