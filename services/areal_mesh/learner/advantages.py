"""Rewards, returns and advantages of AReaL v0.1 on packed 1-D tensors: no critic, gamma = lambda = 1.

    r_t  = -beta (logp_old_t - logp_ref_t)           a KL reward at every response token
    r_T += clip(reward, -limit, limit)               the outcome at the last
    A_t  = sum over u >= t of r_u                    return to go
    A_t  = (A_t - mean) / (sqrt(variance) + eps)     over all response tokens of the global batch

Mean and (biased) variance are float64, from moments that add up over ranks. There is no per-prompt baseline.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NORMALISATION_EPSILON = 1e-5


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of returns; float64 [3] in that order. Moments of several ranks are added."""

    values: Tensor


def token_rewards(
    old_log_probs: Tensor,
    reference_log_probs: Tensor | None,
    response_lengths: Tensor,
    rewards: Tensor,
    kl_coefficient: float,
    reward_clip: float,
) -> Tensor:
    """Reward of every response token: the KL reward, and the clipped outcome added to each response's last token.

    old_log_probs: [tokens]; reference_log_probs: [tokens], or None for no KL reward. response_lengths: int64 [n], each
    at least 1, summing to tokens. rewards: float64 [n]. Returns float64 [tokens].
    """
    per_token = torch.zeros_like(old_log_probs, dtype=torch.float64)
    if reference_log_probs is not None:
        per_token -= kl_coefficient * (old_log_probs.double() - reference_log_probs.double())
    last = response_lengths.cumsum(0) - 1
    per_token[last] += rewards.double().clamp(-reward_clip, reward_clip)
    return per_token


def returns_to_go(per_token_rewards: Tensor, response_lengths: Tensor) -> Tensor:
    """Sum of the rewards from each token to the end of its response. float64 [tokens] to float64 [tokens].

    One suffix sum over the packed tokens, less what follows the response; float64 keeps the cancellation harmless.
    """
    suffix = per_token_rewards.double().flip(0).cumsum(0).flip(0)
    after = torch.cat([suffix, suffix.new_zeros(1)])[response_lengths.cumsum(0)]
    return suffix - after.repeat_interleave(response_lengths)


def moments(returns: Tensor) -> Moments:
    """Moments of this rank's returns, [tokens]."""
    returns = returns.double()
    count = torch.full((), returns.numel(), dtype=torch.float64, device=returns.device)
    return Moments(torch.stack([count, returns.sum(), returns.square().sum()]))


def normalise(returns: Tensor, global_moments: Moments, epsilon: float = NORMALISATION_EPSILON) -> Tensor:
    """Advantages: returns normalised by the moments of the global batch. Returns float32 [tokens].

    A batch without spread (one token, equal returns) gives zeros, never NaN.
    """
    count, total, squares = global_moments.values.unbind()
    count = count.clamp(min=1)
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    return ((returns.double() - mean) / (variance.sqrt() + epsilon)).float()
