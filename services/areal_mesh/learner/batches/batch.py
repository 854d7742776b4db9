"""The batch a training step learns from: packed, padding-free 1-D tensors, checked before they are used."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrainingBatch:
    """n whole rollouts laid end to end; all tensors are on the CPU and 1-D.

    Per-token values cover response tokens alone, responses in the order of the sequences.
    """

    token_ids: Tensor
    """int64 [total]: prompt then response of each sequence."""
    sequence_lengths: Tensor
    """int64 [n]: tokens of prompt and response; they sum to total."""
    prompt_lengths: Tensor
    """int64 [n]: at least 1 and less than the sequence's length."""
    behaviour_log_probs: Tensor
    """float32 [response tokens]: log-probabilities under the distribution actually sampled from."""
    token_versions: Tensor
    """int64 [response tokens]: policy version that produced each token."""
    rewards: Tensor
    """float64 [n]: outcome reward, not yet clipped."""
    group_index: Tensor
    """int64 [n]: which group a sequence belongs to."""
    response_limits: Tensor
    """int64 [n]: most response tokens that the sequence could have, the limit of the stage it was leased in; at
    least what it has."""
    truncated: Tensor
    """bool [n]: cut by that limit."""

    @property
    def response_lengths(self) -> Tensor:
        """int64 [n]: response tokens of each sequence."""
        return self.sequence_lengths - self.prompt_lengths

    def __len__(self) -> int:
        return self.sequence_lengths.numel()


_DTYPES: tuple[tuple[str, torch.dtype], ...] = (
    ("token_ids", torch.int64),
    ("sequence_lengths", torch.int64),
    ("prompt_lengths", torch.int64),
    ("behaviour_log_probs", torch.float32),
    ("token_versions", torch.int64),
    ("rewards", torch.float64),
    ("group_index", torch.int64),
    ("response_limits", torch.int64),
    ("truncated", torch.bool),
)
FIELDS = tuple(name for name, _ in _DTYPES)
DTYPES = dict(_DTYPES)


class InvalidBatchError(ValueError):
    """A training batch whose parts do not fit together; the message names the field and what it should be."""


def validate(batch: TrainingBatch, vocabulary_size: int, policy_version: int) -> None:
    """Raise InvalidBatchError unless the batch can be trained on by a policy of this vocabulary and version."""
    for name, dtype in _DTYPES:
        tensor: Tensor = getattr(batch, name)
        if tensor.dtype != dtype or tensor.dim() != 1:
            raise InvalidBatchError(f"{name} is {tensor.dtype} {list(tensor.shape)}: it should be 1-D {dtype}")
    sequences = len(batch)
    if sequences == 0:
        raise InvalidBatchError("the batch has no sequences: draw one that has")
    for name in ("prompt_lengths", "rewards", "group_index", "response_limits", "truncated"):
        _expect_size(name, getattr(batch, name), sequences, "one a sequence")
    _check_lengths(batch)
    response_tokens = int(batch.response_lengths.sum())
    for name in ("behaviour_log_probs", "token_versions"):
        _expect_size(name, getattr(batch, name), response_tokens, "one a response token")
    _check_values(batch, vocabulary_size, policy_version)


def _expect_size(name: str, tensor: Tensor, expected: int, meaning: str) -> None:
    if tensor.numel() != expected:
        raise InvalidBatchError(f"{name} has {tensor.numel()} values: it should have {expected}, {meaning}")


def _check_lengths(batch: TrainingBatch) -> None:
    total = int(batch.sequence_lengths.sum())
    _expect_size("token_ids", batch.token_ids, total, "the sum of sequence_lengths")
    if int(batch.prompt_lengths.min()) < 1:
        raise InvalidBatchError("a prompt is empty: the first response token needs a token before it")
    shortest = batch.response_lengths.min(0)
    if int(shortest.values) < 1:
        raise InvalidBatchError(
            f"sequence {int(shortest.indices)} has no response token: filter such rollouts before they are drawn"
        )


def _check_values(batch: TrainingBatch, vocabulary_size: int, policy_version: int) -> None:
    if int(batch.token_ids.min()) < 0 or int(batch.token_ids.max()) >= vocabulary_size:
        raise InvalidBatchError(
            f"token_ids run from {int(batch.token_ids.min())} to {int(batch.token_ids.max())}: the model's vocabulary "
            f"is 0 to {vocabulary_size - 1}; generator and learner must load the same model"
        )
    if not bool(batch.behaviour_log_probs.isfinite().all()) or float(batch.behaviour_log_probs.max()) > 1e-3:
        raise InvalidBatchError(
            "behaviour_log_probs must be finite and at most 0: they are logarithms of probabilities"
        )
    if not bool(batch.rewards.isfinite().all()):
        raise InvalidBatchError("rewards must be finite: a failed verification is no reward")
    if int(batch.token_versions.min()) < 0 or int(batch.token_versions.max()) > policy_version:
        raise InvalidBatchError(
            f"token_versions run from {int(batch.token_versions.min())} to {int(batch.token_versions.max())}: the "
            f"learner is at version {policy_version}, so they should be 0 to {policy_version}"
        )
