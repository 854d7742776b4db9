"""Group-relative advantages (GRPO: Shao et al. 2024), without a critic or a reference.

    A_t = (reward - mean of the group) / (std of the group + eps)    the same at every token of a response

The standard deviation is the biased one. GRPO's loss is a mean over responses (`algorithm.average`), and its KL stands
in the loss (`algorithm.kl_loss`).
"""

from dataclasses import dataclass
from typing import ClassVar

from areal_mesh.learner.advantages.inputs import AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.advantages.packed import equal_within_groups, group_means
from areal_mesh.runtime.settings.advantages import GrpoAdvantageSettings

DEVIATION_EPSILON = 1e-6


@dataclass(frozen=True)
class GrpoAdvantage:
    """GRPO's estimate. Its figure: `group_reward_std`, the mean of the groups' standard deviations."""

    settings: GrpoAdvantageSettings
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """See `Advantage`."""
        group = inputs.group_index
        centred = inputs.rewards - group_means(inputs.rewards, group)[group]
        deviations = group_means(centred.square(), group).sqrt()
        advantages = centred / (deviations[group] + DEVIATION_EPSILON)
        return AdvantageOutputs(
            advantages.repeat_interleave(inputs.response_lengths).float(),
            {"group_reward_std": float(deviations.mean())},
            says_nothing=equal_within_groups(inputs.rewards, group),
        )
