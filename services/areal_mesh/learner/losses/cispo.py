"""CISPO: clipped importance sampling for policy optimisation (MiniMax-M1, 2025).

    v_t  = min(pi(t) / pi_behav(t), cap), taken as a constant
    loss = - sum over t of w_t v_t A_t log pi(t)

The policy gradient with its importance weight cut off above. Unlike PPO's clip, which drops a token, the cut bounds
what a token weighs and keeps its gradient. w_t are the weights of the mean over the global minibatch (`averaging`).
"""

from dataclasses import dataclass
from typing import ClassVar

from areal_mesh.learner.losses.figures import constant, log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import CispoSettings


@dataclass(frozen=True)
class Cispo:
    """The CISPO loss. Its own figures: `clip_fraction`, tokens whose weight is cut, and `importance_weight_max`."""

    settings: CispoSettings
    needs_proximal: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        log_ratios = log_ratio(inputs.log_probs, inputs.behaviour_log_probs)
        ratios = constant(log_ratios.exp())
        losses = -ratios.clamp(max=self.settings.weight_cap) * inputs.advantages * inputs.log_probs
        own = {"clip_fraction": ratios > self.settings.weight_cap}
        figures = measure({**ratio_figures(log_ratios), **own}, {"importance_weight_max": ratios})
        return LossOutputs((losses * inputs.token_weights).sum(), figures)
