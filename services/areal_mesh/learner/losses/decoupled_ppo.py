"""Decoupled PPO (Hilton et al. 2022) as AReaL (2025) uses it for stale rollouts.

    u_t  = pi(t) / pi_prox(t)          the trust region, round the proximal policy
    w_t  = pi_prox(t) / pi_behav(t)    the importance weight, from the behaviour policy to the proximal
    loss = sum over t of m_t w_t max(-A_t u_t, -A_t clip(u_t, 1 - eps, 1 + eps)) / N_tokens

pi_prox is the policy before the step, recomputed over the whole batch; w is always applied. m_t = 0 for tokens with
w_t over the cap (a knob of its own; None switches the mask off and leaves w alone). N_tokens counts the response
tokens of the global minibatch, masked ones included. With pi_prox = pi_behav this is PPO, number for number.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.learner.losses.ppo import clipped_objective
from areal_mesh.runtime.settings.losses import DecoupledPpoSettings


@dataclass(frozen=True)
class DecoupledPpo:
    """The decoupled PPO loss.

    Its own figures: `clip_fraction` as of PPO, `importance_weight_mean` and `importance_weight_max` of w, masked tokens
    included, and `masked_share`.
    """

    settings: DecoupledPpoSettings
    needs_proximal: ClassVar[bool] = True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        assert inputs.proximal_log_probs is not None
        log_ratios = log_ratio(inputs.log_probs, inputs.proximal_log_probs)
        weights = log_ratio(inputs.proximal_log_probs, inputs.behaviour_log_probs).exp()
        per_token, clipped = clipped_objective(log_ratios, inputs.advantages, self.settings.clip)
        cap = self.settings.behaviour_weight_cap
        masked = torch.zeros_like(clipped) if cap is None else weights > cap
        weighted = torch.where(masked, torch.zeros_like(per_token), weights * per_token)
        own = {"clip_fraction": clipped, "importance_weight_mean": weights, "masked_share": masked}
        figures = measure({**ratio_figures(log_ratios), **own}, {"importance_weight_max": weights})
        return LossOutputs(weighted.sum() / inputs.minibatch_tokens, figures)
