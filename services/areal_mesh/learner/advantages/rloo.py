"""REINFORCE with a leave-one-out baseline (RLOO: Ahmadian et al. 2024).

    R_i = reward_i - beta * sum over t of (logp_behav_t - logp_ref_t)    a KL reward of the whole response (k1)
    A_t = R_i - mean of R_j over the other responses j of the group      the same at every token of response i

A response without another in its group has nothing to be compared with: 0.
"""

from dataclasses import dataclass

from areal_mesh.learner.advantages.inputs import AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.advantages.packed import (
    equal_within_groups,
    group_sizes,
    group_sums,
    kl_figures,
    kl_rewards,
    sums_of_responses,
)
from areal_mesh.runtime.settings.advantages import RlooAdvantageSettings


@dataclass(frozen=True)
class RlooAdvantage:
    """RLOO's estimate. Its figures: `advantage_std` over responses and, with a reference, `kl_to_reference`."""

    settings: RlooAdvantageSettings

    @property
    def needs_reference(self) -> bool:
        """Whether the KL reward is on."""
        return self.settings.kl_coefficient > 0

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """See `Advantage`."""
        group, lengths = inputs.group_index, inputs.response_lengths
        penalties = kl_rewards(inputs, self.settings.kl_coefficient, self.settings.kl_estimator)
        returns = inputs.rewards + sums_of_responses(penalties, lengths)
        others = (group_sizes(group) - 1)[group]
        baselines = (group_sums(returns, group)[group] - returns) / others.clamp(min=1)
        advantages = (returns - baselines).where(others > 0, 0.0)
        return AdvantageOutputs(
            advantages.repeat_interleave(lengths).float(),
            {"advantage_std": float(advantages.std(correction=0)), **kl_figures(inputs)},
            says_nothing=equal_within_groups(inputs.rewards, group),
        )
