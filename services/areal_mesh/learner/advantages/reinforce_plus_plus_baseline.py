"""REINFORCE++ with a baseline (Hu 2025): the group's mean as baseline, normalised over the batch.

    c_i = reward_i - mean of the group
    A_t = (c_i - mean) / (std + eps)    mean and std of c over all response tokens of the global batch

The group gives the baseline alone; its deviation, small and noisy, gives nothing. The paper has KL in the loss, by k2
(`algorithm.kl_loss`). The standard deviation is the biased one.
"""

from dataclasses import dataclass
from typing import ClassVar

from areal_mesh.learner.advantages.inputs import AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.advantages.packed import equal_within_groups, group_means
from areal_mesh.runtime.settings.advantages import ReinforcePlusPlusBaselineSettings

DEVIATION_EPSILON = 1e-8


@dataclass(frozen=True)
class ReinforcePlusPlusBaseline:
    """REINFORCE++ with its baseline. Its figure: `centred_reward_std`, over tokens."""

    settings: ReinforcePlusPlusBaselineSettings
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: AdvantageInputs) -> AdvantageOutputs:
        """See `Advantage`."""
        group = inputs.group_index
        centred = inputs.rewards - group_means(inputs.rewards, group)[group]
        tokens = centred.repeat_interleave(inputs.response_lengths)
        deviation = tokens.std(correction=0)
        return AdvantageOutputs(
            ((tokens - tokens.mean()) / (deviation + DEVIATION_EPSILON)).float(),
            {"centred_reward_std": float(deviation)},
            says_nothing=equal_within_groups(inputs.rewards, group),
        )
