"""Clipped PPO (Schulman et al. 2017) with the token mean of AReaL v0.1.

    rho_t = pi(t) / pi_behav(t)
    loss  = sum over t of max(-A_t rho_t, -A_t clip(rho_t, 1 - eps, 1 + eps)) / N_tokens

pi_behav is the policy that sampled the token; N_tokens counts the response tokens of the global minibatch. There is no
critic, entropy bonus or dual clip. A minibatch whose mean rho exceeds `figures.MAX_MEAN_RATIO` is zeroed by the caller,
who alone sees the whole minibatch.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import PpoSettings


@dataclass(frozen=True)
class Ppo:
    """The PPO loss. Its own figure: `clip_fraction`, the share of tokens whose loss is the clipped branch."""

    settings: PpoSettings
    needs_proximal: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        log_ratios = log_ratio(inputs.log_probs, inputs.behaviour_log_probs)
        per_token, clipped = clipped_objective(log_ratios, inputs.advantages, self.settings.clip)
        figures = measure({**ratio_figures(log_ratios), "clip_fraction": clipped})
        return LossOutputs(per_token.sum() / inputs.minibatch_tokens, figures)


def clipped_objective(log_ratios: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Per-token max(-A rho, -A clip(rho)) and where the clipped branch is the larger (bool); shapes [tokens].

    A token of the clipped branch gives no gradient.
    """
    ratios = log_ratios.exp()
    unclipped_loss = -advantages * ratios
    clipped_loss = -advantages * ratios.clamp(1.0 - clip, 1.0 + clip)
    return torch.maximum(unclipped_loss, clipped_loss), clipped_loss.detach() > unclipped_loss.detach()
