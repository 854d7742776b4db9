"""Means over a global minibatch, as one weight a token: a loss is the sum of its tokens' losses by these weights.

    tokens       w_t = 1 / N_tokens                         every token counts alike (AReaL, DAPO)
    responses    w_t = 1 / (N_responses * length of its)    every response counts alike, by its own mean (GRPO)
    limit        w_t = 1 / (sum of the response limits)     a sum over tokens over a constant: no token's weight depends
                                                            on the length of its response (Dr. GRPO)

N and the sum of limits are those of the minibatch on all ranks, so that weights of a minibatch's parts add up to the
whole: to 1, but for `limit`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.runtime.settings.algorithm import Average


@dataclass(frozen=True)
class MinibatchTotals:
    """Of the responses of a global minibatch, on all ranks, and of its part of those that need no pass."""

    tokens: float
    responses: float
    limits: float
    """Sum of the responses' limits, in tokens."""


def _tokens(lengths: Tensor, totals: MinibatchTotals) -> Tensor:
    return torch.full_like(lengths, 1.0 / max(totals.tokens, 1.0), dtype=torch.float64)


def _responses(lengths: Tensor, totals: MinibatchTotals) -> Tensor:
    return 1.0 / (max(totals.responses, 1.0) * lengths.double())


def _limit(lengths: Tensor, totals: MinibatchTotals) -> Tensor:
    return torch.full_like(lengths, 1.0 / max(totals.limits, 1.0), dtype=torch.float64)


AVERAGES: Mapping[Average, Callable[[Tensor, MinibatchTotals], Tensor]] = {
    "tokens": _tokens,
    "responses": _responses,
    "limit": _limit,
}


def token_weights(average: Average, response_lengths: Tensor, totals: MinibatchTotals) -> Tensor:
    """Weight of every token of these responses. int64 [responses] to float32 [tokens]."""
    return AVERAGES[average](response_lengths, totals).repeat_interleave(response_lengths).float()
