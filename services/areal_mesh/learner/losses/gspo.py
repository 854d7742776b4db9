"""GSPO: group sequence policy optimisation (Zheng et al. 2025), decoupled for stale rollouts.

    s_i  = exp(mean over t of log pi(t) - log pi_prox(t))            ratio of a whole response, by its length
    v_i  = min(exp(mean over t of log pi_prox(t) - log pi_behav(t)), cap)
    A_i  = mean over t of A_t                                        that of its tokens, where they have the same
    loss = sum over i of W_i v_i max(-A_i s_i, -A_i clip(s_i, 1 - eps, 1 + eps_high)),    W_i = sum over t of w_t

w_t are the weights of the mean over the global minibatch (`averaging`); GSPO's own is the mean over responses,
`algorithm.average = "responses"`. The paper's ratio is to the policy that sampled; here the trust region lies round the
policy before the step, with v for the rest of the way, which is the same where pi_prox = pi_behav (v = 1).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from areal_mesh.learner.losses.clipping import clipped_objective
from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import GspoSettings


@dataclass(frozen=True)
class Gspo:
    """The GSPO loss.

    Its own figures, over tokens, each with its response's value: those of `clipped_objective`, `sequence_ratio_mean`,
    `importance_weight_mean` and `importance_weight_max` before the cut.
    """

    settings: GspoSettings
    needs_proximal: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        assert inputs.proximal_log_probs is not None
        settings, lengths = self.settings, inputs.response_lengths
        log_ratios = log_ratio(inputs.log_probs, inputs.proximal_log_probs)
        ratios = _means(log_ratios, lengths).exp()
        weights = _means(log_ratio(inputs.proximal_log_probs, inputs.behaviour_log_probs), lengths).exp()
        bounds = (1.0 - settings.clip, 1.0 + settings.clip_high)
        losses, clipped = clipped_objective(ratios, _means(inputs.advantages, lengths), bounds)
        weighted = weights.clamp(max=settings.weight_cap) * losses * _sums(inputs.token_weights, lengths)
        own = {**clipped, "sequence_ratio_mean": ratios.detach(), "importance_weight_mean": weights}
        of_tokens = {name: values.repeat_interleave(lengths) for name, values in own.items()}
        figures = measure({**ratio_figures(log_ratios), **of_tokens}, {"importance_weight_max": weights})
        return LossOutputs(weighted.sum(), figures)


def _sums(values: Tensor, lengths: Tensor) -> Tensor:
    """Sum over the tokens of each response, [tokens] to [responses]."""
    owner = torch.arange(lengths.numel(), device=values.device).repeat_interleave(lengths)
    return values.new_zeros(lengths.numel()).index_add(0, owner, values)


def _means(values: Tensor, lengths: Tensor) -> Tensor:
    return _sums(values, lengths) / lengths
