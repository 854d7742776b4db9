"""DPPO: the policy gradient under a mask by probability (Qi et al. 2026, "Binary TV"), as prime-rl trains by default.

    r_t  = pi(t) / pi_behav(t)
    m_t  = 0 where A_t > 0 and pi(t) - pi_behav(t) > high, and where A_t <= 0 and pi(t) - pi_behav(t) < -low; else 1
    loss = sum over t of w_t (-m_t A_t r_t + tau log(r_t)^2)

PPO's clip goes by the ratio, which is far from 1 for rare tokens at once and near it for common ones always; the mask
goes by the probability that has moved, a part of the total variation between the policies. The second term (Kimi K2.5,
2026) holds the policies together and counts masked tokens too. Source: PrimeIntellect-ai/prime-rl,
`src/prime_rl/trainer/rl/loss.py` (`default_loss_fn`, with its defaults; `adv_tau` is 1).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from areal_mesh.learner.losses.figures import log_ratio, measure, ratio_figures
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.runtime.settings.losses import DppoSettings


@dataclass(frozen=True)
class Dppo:
    """The DPPO loss.

    Its own figures: `masked_share`, and its parts `masked_share_low` and `masked_share_high`, of tokens that were to
    become less likely and likelier; `squared_log_ratio`.
    """

    settings: DppoSettings
    needs_proximal: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """See `Loss`."""
        settings, advantages = self.settings, inputs.advantages
        log_ratios = log_ratio(inputs.log_probs, inputs.behaviour_log_probs)
        with torch.no_grad():
            moved = inputs.log_probs.exp() - inputs.behaviour_log_probs.exp()
            high = (advantages > 0) & (moved > settings.mask_high)
            low = (advantages <= 0) & (moved < -settings.mask_low)
        gradient = torch.where(high | low, 0.0, -advantages * log_ratios.exp())
        squared = log_ratios.square()
        losses = gradient + settings.squared_log_ratio * squared
        own = {"masked_share": high | low, "masked_share_low": low, "masked_share_high": high}
        figures = measure({**ratio_figures(log_ratios), **own, "squared_log_ratio": squared})
        return LossOutputs((losses * inputs.token_weights).sum(), figures)
