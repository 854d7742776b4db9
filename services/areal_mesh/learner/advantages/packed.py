"""What advantage estimates share: sums and means on packed tokens and on groups."""

import torch
from torch import Tensor


def returns_to_go(token_rewards: Tensor, response_lengths: Tensor) -> Tensor:
    """Sum of the rewards from each token to the end of its response. float64 [tokens] to float64 [tokens].

    One suffix sum over the packed tokens, less what follows the response; float64 keeps the cancellation harmless.
    """
    suffix = token_rewards.double().flip(0).cumsum(0).flip(0)
    after = torch.cat([suffix, suffix.new_zeros(1)])[response_lengths.cumsum(0)]
    return suffix - after.repeat_interleave(response_lengths)


def group_means(values: Tensor, group_index: Tensor) -> Tensor:
    """Mean of the values [n] in each group, float64 [groups]; 0 for a group without any."""
    groups = int(group_index.max()) + 1
    sums = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_index, values.double())
    return sums / torch.bincount(group_index, minlength=groups).clamp(min=1)
