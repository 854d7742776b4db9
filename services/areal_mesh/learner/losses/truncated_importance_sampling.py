"""Clipped PPO with truncated importance sampling (TIS: Ionides 2008; Yao et al. 2025).

    u_t  = pi(t) / pi_prox(t)
    v_t  = min(pi_prox(t) / pi_behav(t), C)
    loss = sum over t of w_t v_t max(-A_t u_t, -A_t clip(u_t, 1 - eps, 1 + eps_high))

As decoupled PPO, but that a weight over the cap is cut to it where that one masks the token: the bias is bounded, and
no token is lost. pi_prox is the policy before the step; v is a constant. Clip-higher and dual clip as of `ppo`.
"""

from dataclasses import dataclass
from typing import ClassVar

from areal_mesh.learner.losses.clipping import clipped_objective
from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import TruncatedImportanceSamplingSettings


@dataclass(frozen=True)
class TruncatedImportanceSampling:
    """PPO with truncated weights.

    Its own figures: those of `clipped_objective`, `importance_weight_mean` and `importance_weight_max` before the cut,
    and `truncated_share`, of tokens whose weight is cut.
    """

    settings: TruncatedImportanceSamplingSettings
    needs_proximal: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        assert inputs.proximal_log_probs is not None
        settings = self.settings
        log_ratios = log_ratio(inputs.log_probs, inputs.proximal_log_probs)
        weights = log_ratio(inputs.proximal_log_probs, inputs.behaviour_log_probs).exp()
        losses, clipped = clipped_objective(log_ratios.exp(), inputs.advantages, settings.bounds, settings.dual_clip)
        own = {**clipped, "importance_weight_mean": weights, "truncated_share": weights > settings.weight_cap}
        figures = measure({**ratio_figures(log_ratios), **own}, {"importance_weight_max": weights})
        return LossOutputs((weights.clamp(max=settings.weight_cap) * losses * inputs.token_weights).sum(), figures)
