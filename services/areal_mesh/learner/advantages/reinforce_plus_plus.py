"""REINFORCE++ (Hu 2025): returns with a KL reward, normalised over the batch, no baseline of the prompt.

    r_t  = -beta (logp_behav_t - logp_ref_t)    a KL reward at every response token (k1)
    r_T += reward
    R_t  = sum over u >= t of r_u               gamma = 1
    A_t  = (R_t - mean) / (std + eps)           over all response tokens of the global batch

AReaL v0.1's estimate is the same but for its larger eps. The standard deviation is the biased one.
"""

from dataclasses import dataclass

from areal_mesh.learner.advantages.inputs import AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.advantages.packed import kl_figures, kl_rewards, returns_to_go
from areal_mesh.runtime.settings.advantages import ReinforcePlusPlusSettings

DEVIATION_EPSILON = 1e-8


@dataclass(frozen=True)
class ReinforcePlusPlus:
    """The REINFORCE++ estimate. Its figures: `return_mean`, `return_std` and, with a reference, `kl_to_reference`."""

    settings: ReinforcePlusPlusSettings

    @property
    def needs_reference(self) -> bool:
        """Whether the KL reward is on."""
        return self.settings.kl_coefficient > 0

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """See `Advantage`."""
        rewards = kl_rewards(inputs, self.settings.kl_coefficient, self.settings.kl_estimator)
        rewards[inputs.response_lengths.cumsum(0) - 1] += inputs.rewards
        returns = returns_to_go(rewards, inputs.response_lengths)
        mean, deviation = returns.mean(), returns.std(correction=0)
        return AdvantageOutputs(
            ((returns - mean) / (deviation + DEVIATION_EPSILON)).float(),
            {"return_mean": float(mean), "return_std": float(deviation), **kl_figures(inputs)},
            says_nothing=bool((inputs.rewards == inputs.rewards[0]).all()),
        )
