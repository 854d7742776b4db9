"""Decoupled PPO (Hilton et al. 2022) as AReaL (2025) uses it for stale rollouts.

    u_t  = pi(t) / pi_prox(t)          the trust region, round the proximal policy
    w_t  = pi_prox(t) / pi_behav(t)    the importance weight, from the behaviour policy to the proximal
    loss = sum over t of m_t w_t max(-A_t u_t, -A_t clip(u_t, 1 - eps, 1 + eps)) / N_tokens

pi_prox is the policy before the step, recomputed over the whole batch; w is always applied. m_t = 0 for tokens with
w_t over the cap (a knob of its own; None switches the mask off and leaves w alone). N_tokens counts the response
tokens of the global minibatch, masked ones included. With pi_prox = pi_behav this is `ppo_loss`, number for number.
"""

import torch
from torch import Tensor

from areal_mesh.learner.losses.ppo import clipped_objective
from areal_mesh.learner.losses.statistics import LossStatistics, collect, log_ratio


def decoupled_ppo_loss(
    log_probs: Tensor,
    proximal_log_probs: Tensor,
    behaviour_log_probs: Tensor,
    advantages: Tensor,
    minibatch_tokens: int,
    clip: float = 0.2,
    weight_cap: float | None = None,
) -> tuple[Tensor, LossStatistics]:
    """A micro-batch's share of the decoupled PPO loss.

    log_probs: float32 [tokens], with gradient. proximal_log_probs, behaviour_log_probs, advantages: float32 [tokens],
    taken as constants. minibatch_tokens: response tokens of the global minibatch. clip: eps. weight_cap: tokens with
    w above it are masked. Returns the loss (float32 []) and the statistics.
    """
    proximal_log_probs = proximal_log_probs.detach()
    log_ratios = log_ratio(log_probs, proximal_log_probs)
    weights = log_ratio(proximal_log_probs, behaviour_log_probs.detach()).exp()
    per_token, clipped = clipped_objective(log_ratios, advantages.detach(), clip)
    masked = torch.zeros_like(clipped) if weight_cap is None else weights > weight_cap
    weighted = torch.where(masked, torch.zeros_like(per_token), weights * per_token)
    return weighted.sum() / minibatch_tokens, collect(log_ratios, clipped, weights, masked)
