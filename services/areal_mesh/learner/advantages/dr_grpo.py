"""Advantages of Dr. GRPO ("GRPO done right": Liu et al. 2025), without a critic or a reference.

    A_t = reward - mean of the group    the same at every token of a response

Without GRPO's division by the deviation, which weighs very easy and very hard prompts up. Its other half is the loss
without a division by the response's length (`algorithm.average = "limit"`).
"""

from dataclasses import dataclass
from typing import ClassVar

from areal_mesh.learner.advantages.inputs import AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.advantages.packed import equal_within_groups, group_means
from areal_mesh.runtime.settings.advantages import DrGrpoAdvantageSettings


@dataclass(frozen=True)
class DrGrpoAdvantage:
    """Dr. GRPO's estimate. Its figure: `group_reward_std`, the mean of the groups' standard deviations."""

    settings: DrGrpoAdvantageSettings
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """See `Advantage`."""
        group = inputs.group_index
        centred = inputs.rewards - group_means(inputs.rewards, group)[group]
        return AdvantageOutputs(
            centred.repeat_interleave(inputs.response_lengths).float(),
            {"group_reward_std": float(group_means(centred.square(), group).sqrt().mean())},
            says_nothing=equal_within_groups(inputs.rewards, group),
        )
