"""Advantages of AReaL v0.1: no critic, gamma = lambda = 1, no baseline of the prompt.

    r_t  = -beta (logp_behav_t - logp_ref_t)         a KL reward at every response token (k1; k2 and k3 by setting)
    r_T += reward                                    the outcome at the last
    A_t  = sum over u >= t of r_u                    return to go
    A_t  = (A_t - mean) / (sqrt(variance) + eps)     over all response tokens of the global batch

Mean and (biased) variance are float64.
"""

from dataclasses import dataclass

from torch import Tensor

from areal_mesh.learner.advantages.inputs import AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.advantages.packed import kl_figures, kl_rewards, returns_to_go
from areal_mesh.runtime.settings.advantages import ArealAdvantageSettings

NORMALISATION_EPSILON = 1e-5


@dataclass(frozen=True)
class ArealAdvantage:
    """AReaL's estimate. Its figures: `return_mean`, `return_std` and, with a reference, `kl_to_reference`."""

    settings: ArealAdvantageSettings

    @property
    def needs_reference(self) -> bool:
        """Whether the KL reward is on."""
        return self.settings.kl_coefficient > 0

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """See `Advantage`."""
        returns = returns_to_go(self.token_rewards(inputs), inputs.response_lengths)
        mean, deviation = returns.mean(), returns.std(correction=0)
        figures = {"return_mean": float(mean), "return_std": float(deviation), **kl_figures(inputs)}
        advantages = ((returns - mean) / (deviation + NORMALISATION_EPSILON)).float()
        # All returns then differ by the KL reward alone, whose noise the normalisation magnifies to full size.
        return AdvantageOutputs(advantages, figures, says_nothing=bool((inputs.rewards == inputs.rewards[0]).all()))

    def token_rewards(self, inputs: AdvantageInputs) -> Tensor:
        """Reward of every response token: the KL reward, and the outcome at each response's last. float64 [tokens]."""
        rewards = kl_rewards(inputs, self.settings.kl_coefficient, self.settings.kl_estimator)
        rewards[inputs.response_lengths.cumsum(0) - 1] += inputs.rewards
        return rewards
