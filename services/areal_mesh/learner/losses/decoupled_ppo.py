"""Decoupled PPO (Hilton et al. 2022) as AReaL (2025) uses it for stale rollouts.

    u_t  = pi(t) / pi_prox(t)          the trust region, round the proximal policy
    v_t  = pi_prox(t) / pi_behav(t)    the importance weight, from the behaviour policy to the proximal
    loss = sum over t of w_t m_t v_t max(-A_t u_t, -A_t clip(u_t, 1 - eps, 1 + eps_high))

pi_prox is the policy before the step, recomputed over the whole batch; v is always applied. m_t = 0 for tokens with
v_t over the cap (a knob of its own; None switches the mask off and leaves v alone), which count in the mean all the
same. w_t are the weights of the mean over the global minibatch, 1 / N_tokens by default (`averaging`). Clip-higher and
dual clip as of `ppo`. With pi_prox = pi_behav this is PPO, number for number.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from areal_mesh.learner.losses.clipping import clipped_objective
from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import DecoupledPpoSettings


@dataclass(frozen=True)
class DecoupledPpo:
    """The decoupled PPO loss.

    Its own figures: those of `clipped_objective`, `importance_weight_mean` and `importance_weight_max` of v, masked
    tokens included, and `masked_share`.
    """

    settings: DecoupledPpoSettings
    needs_proximal: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        assert inputs.proximal_log_probs is not None
        settings = self.settings
        log_ratios = log_ratio(inputs.log_probs, inputs.proximal_log_probs)
        weights = log_ratio(inputs.proximal_log_probs, inputs.behaviour_log_probs).exp()
        losses, clipped = clipped_objective(log_ratios.exp(), inputs.advantages, settings.bounds, settings.dual_clip)
        cap = settings.behaviour_weight_cap
        masked = torch.zeros_like(weights, dtype=torch.bool) if cap is None else weights > cap
        weighted = torch.where(masked, torch.zeros_like(losses), weights * losses)
        own = {**clipped, "importance_weight_mean": weights, "masked_share": masked}
        figures = measure({**ratio_figures(log_ratios), **own}, {"importance_weight_max": weights})
        return LossOutputs((weighted * inputs.token_weights).sum(), figures)
