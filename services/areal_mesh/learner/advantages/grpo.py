"""Group-relative advantages (GRPO: Shao et al. 2024), without a critic or a reference.

    A_t = (reward - mean of the group) / (std of the group + eps)    the same at every token of a response

The standard deviation is the biased one. Dr. GRPO (Liu et al. 2025) leaves the division out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.advantages.inputs import AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.advantages.packed import group_means
from areal_mesh.runtime.settings.advantages import GrpoAdvantageSettings

DEVIATION_EPSILON = 1e-6


@dataclass(frozen=True)
class GrpoAdvantage:
    """GRPO's estimate. Its figure: `group_reward_std`, the mean of the groups' standard deviations."""

    settings: GrpoAdvantageSettings

    @property
    def needs_reference(self) -> bool:
        """Never."""
        return False

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """See `Advantage`."""
        group = inputs.group_index
        centred = inputs.rewards - group_means(inputs.rewards, group)[group]
        deviations = group_means(centred.square(), group).sqrt()
        advantages = centred / (deviations[group] + DEVIATION_EPSILON) if self.settings.divide_by_deviation else centred
        return AdvantageOutputs(
            advantages.repeat_interleave(inputs.response_lengths).float(),
            {"group_reward_std": float(deviations.mean())},
            says_nothing=bool((inputs.rewards == _one_of_group(inputs)).all()),
        )


def _one_of_group(inputs: AdvantageInputs) -> Tensor:
    """For each response a reward of its group, float64 [n]; means of equal rewards may differ from them by rounding."""
    some = torch.zeros(int(inputs.group_index.max()) + 1, dtype=torch.float64)
    some[inputs.group_index] = inputs.rewards
    return some[inputs.group_index]
