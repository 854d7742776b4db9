"""What advantage estimates share: sums and means on packed tokens and on groups, and the KL reward."""

import torch
from torch import Tensor

from areal_mesh.learner.advantages.inputs import AdvantageInputs
from areal_mesh.learner.kl.estimators import kl_estimate
from areal_mesh.runtime.settings.kl import KlEstimator


def returns_to_go(token_rewards: Tensor, response_lengths: Tensor) -> Tensor:
    """Sum of the rewards from each token to the end of its response. float64 [tokens] to float64 [tokens].

    One suffix sum over the packed tokens, less what follows the response; float64 keeps the cancellation harmless.
    """
    suffix = token_rewards.double().flip(0).cumsum(0).flip(0)
    after = torch.cat([suffix, suffix.new_zeros(1)])[response_lengths.cumsum(0)]
    return suffix - after.repeat_interleave(response_lengths)


def kl_rewards(inputs: AdvantageInputs, coefficient: float, estimator: KlEstimator) -> Tensor:
    """-coefficient times the KL estimate at every token; 0 without a reference. float64 [tokens].

    Of the behaviour policy, which took the actions, to the reference.
    """
    if inputs.reference_log_probs is None:
        return torch.zeros_like(inputs.behaviour_log_probs, dtype=torch.float64)
    behaviour, reference = inputs.behaviour_log_probs.double(), inputs.reference_log_probs.double()
    return -coefficient * kl_estimate(estimator, behaviour, reference)


def kl_figures(inputs: AdvantageInputs) -> dict[str, float]:
    """`kl_to_reference`: mean of logp_behav - logp_ref (k1) over tokens; nothing without a reference."""
    if inputs.reference_log_probs is None:
        return {}
    return {
        "kl_to_reference": float((inputs.behaviour_log_probs.double() - inputs.reference_log_probs.double()).mean())
    }


def group_means(values: Tensor, group_index: Tensor) -> Tensor:
    """Mean of the values [n] in each group, float64 [groups]; 0 for a group without any."""
    return group_sums(values, group_index) / group_sizes(group_index).clamp(min=1)


def group_sums(values: Tensor, group_index: Tensor) -> Tensor:
    """Sum of the values [n] in each group, float64 [groups]."""
    groups = int(group_index.max()) + 1
    return torch.zeros(groups, dtype=torch.float64).index_add_(0, group_index, values.double())


def group_sizes(group_index: Tensor) -> Tensor:
    """Responses of each group, int64 [groups]."""
    return torch.bincount(group_index)


def equal_within_groups(rewards: Tensor, group_index: Tensor) -> bool:
    """Whether all rewards of each group are equal; means of equal rewards may differ from them by rounding."""
    some = torch.zeros(int(group_index.max()) + 1, dtype=torch.float64)
    some[group_index] = rewards
    return bool((rewards == some[group_index]).all())


def sums_of_responses(token_values: Tensor, response_lengths: Tensor) -> Tensor:
    """Sum over the tokens of each response. float64 [tokens] to float64 [n]."""
    owner = torch.arange(response_lengths.numel()).repeat_interleave(response_lengths)
    return torch.zeros(response_lengths.numel(), dtype=torch.float64).index_add_(0, owner, token_values.double())
