"""Clipped PPO (Schulman et al. 2017) with the token mean of AReaL v0.1.

    rho_t = pi(t) / pi_old(t)
    loss  = sum over t of max(-A_t rho_t, -A_t clip(rho_t, 1 - eps, 1 + eps)) / N_tokens

pi_old is the policy that sampled the token (the behaviour policy); N_tokens counts the response tokens of the global
minibatch. There is no critic, entropy bonus or dual clip. A minibatch whose mean rho exceeds
`statistics.MAX_MEAN_RATIO` is zeroed by the caller, who alone sees the whole minibatch.
"""

import torch
from torch import Tensor

from areal_mesh.learner.losses.statistics import LossStatistics, collect, log_ratio


def ppo_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, minibatch_tokens: int, clip: float = 0.2
) -> tuple[Tensor, LossStatistics]:
    """A micro-batch's share of the PPO loss.

    log_probs: float32 [tokens], with gradient. old_log_probs, advantages: float32 [tokens], taken as constants.
    minibatch_tokens: response tokens of the global minibatch. clip: eps.
    Returns the loss (float32 []) and the statistics.
    """
    log_ratios = log_ratio(log_probs, old_log_probs.detach())
    advantages = advantages.detach()
    per_token, clipped = clipped_objective(log_ratios, advantages, clip)
    ones = torch.ones_like(advantages)
    statistics = collect(log_ratios, clipped, ones, torch.zeros_like(clipped))
    return per_token.sum() / minibatch_tokens, statistics


def clipped_objective(log_ratios: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Per-token max(-A rho, -A clip(rho)) and where the clipped branch is the larger (bool); shapes [tokens]."""
    ratios = log_ratios.exp()
    unclipped_loss = -advantages * ratios
    clipped_loss = -advantages * ratios.clamp(1.0 - clip, 1.0 + clip)
    return torch.maximum(unclipped_loss, clipped_loss), clipped_loss.detach() > unclipped_loss.detach()
