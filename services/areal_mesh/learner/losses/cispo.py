"""CISPO: clipped importance sampling for policy optimisation (MiniMax-M1, 2025).

    w_t  = min(pi(t) / pi_behav(t), cap), taken as a constant
    loss = - sum over t of w_t A_t log pi(t) / N_tokens

The policy gradient with its importance weight cut off above. Unlike PPO's clip, which drops a token, the cut bounds
what a token weighs and keeps its gradient. N_tokens counts the response tokens of the global minibatch.
"""

from dataclasses import dataclass
from typing import ClassVar

from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import CispoSettings


@dataclass(frozen=True)
class Cispo:
    """The CISPO loss. Its own figures: `clip_fraction`, tokens whose weight is cut, and `importance_weight_max`."""

    settings: CispoSettings
    needs_proximal: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        log_ratios = log_ratio(inputs.log_probs, inputs.behaviour_log_probs)
        ratios = log_ratios.detach().exp()
        per_token = -ratios.clamp(max=self.settings.weight_cap) * inputs.advantages * inputs.log_probs
        own = {"clip_fraction": ratios > self.settings.weight_cap}
        figures = measure({**ratio_figures(log_ratios), **own}, {"importance_weight_max": ratios})
        return LossOutputs(per_token.sum() / inputs.minibatch_tokens, figures)
