"""Clipped PPO (Schulman et al. 2017).

    rho_t = pi(t) / pi_behav(t)
    loss  = sum over t of w_t max(-A_t rho_t, -A_t clip(rho_t, 1 - eps, 1 + eps_high))

pi_behav is the policy that sampled the token; w_t are the weights of the mean over the global minibatch, 1 / N_tokens
by default (`averaging`). eps_high is eps but where clip-higher sets it (DAPO, Yu et al. 2025). A dual clip c (Ye et al.
2020) bounds the loss of a token of negative advantage to -A_t c. AReaL v0.1 has neither.
"""

from dataclasses import dataclass
from typing import ClassVar

from areal_mesh.learner.losses.clipping import clipped_objective
from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import PpoSettings


@dataclass(frozen=True)
class Ppo:
    """The PPO loss. Its own figures: `clip_fraction` and its parts, as of `clipped_objective`."""

    settings: PpoSettings
    needs_proximal: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        settings = self.settings
        log_ratios = log_ratio(inputs.log_probs, inputs.behaviour_log_probs)
        losses, clipped = clipped_objective(log_ratios.exp(), inputs.advantages, settings.bounds, settings.dual_clip)
        return LossOutputs((losses * inputs.token_weights).sum(), measure({**ratio_figures(log_ratios), **clipped}))
