"""Micro-batches as tensors: some responses of a batch laid end to end, ready for one forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.batches.layout import PackedLayout, build_layout
from areal_mesh.learner.batches.sharing import share_prompts


@dataclass(frozen=True)
class MicroBatch:
    """T rows of n sequences with R response tokens; an empty one has a single row, no sequence and R = 0.

    A row is a token, or one that several sequences begin with: responses to one prompt share its rows.
    """

    token_ids: Tensor
    """int64 [T]."""
    position_ids: Tensor
    """int64 [T], from 0 in each sequence."""
    shared_tokens: int
    """Tokens of the sequences that have no row of their own."""
    layout: PackedLayout
    predictor_index: Tensor
    """int64 [R]: row whose hidden state predicts the response token, that of the token before it."""
    targets: Tensor
    """int64 [R]: the response tokens."""
    behaviour_log_probs: Tensor
    """float32 [R]."""
    fresh: Tensor
    """bool [R]: the whole response is of the learner's version."""
    ages: Tensor
    """int64 [R]: versions between the one that sampled the token and the learner's."""
    rows: Tensor
    """int64 [R], on the CPU: places of these response tokens among those of the whole batch."""
    response_lengths: Tensor
    """int64 [n]."""
    limit_tokens: int
    """Sum of the responses' limits."""


class MicroBatchBuilder:
    """Cuts micro-batches out of one training batch for one device."""

    def __init__(self, batch: TrainingBatch, policy_version: int, device: torch.device, dtype: torch.dtype) -> None:
        """dtype: that of the activations, which decides the attention kernel."""
        self._batch = batch
        self._policy_version = policy_version
        self._device = device
        self._dtype = dtype
        self._sequence_starts = batch.sequence_lengths.cumsum(0) - batch.sequence_lengths
        response_lengths = batch.response_lengths
        self._response_starts = response_lengths.cumsum(0) - response_lengths

    def build(self, indices: Sequence[int]) -> MicroBatch:
        """The micro-batch of these responses, in this order; the empty one for none."""
        if not indices:
            return self._empty()
        batch = self._batch
        chosen = torch.tensor(indices, dtype=torch.int64)
        lengths = batch.sequence_lengths[chosen]
        prompts = batch.prompt_lengths[chosen]
        responses = lengths - prompts
        positions = ranges(lengths)
        token_ids = batch.token_ids[ranges(lengths, self._sequence_starts[chosen])]
        sharing = share_prompts(torch.split(token_ids, lengths.tolist()), prompts.tolist())
        target_positions = ranges(responses, lengths.cumsum(0) - responses)
        response_rows = ranges(responses, self._response_starts[chosen])
        return MicroBatch(
            token_ids=token_ids[sharing.kept].to(self._device),
            position_ids=positions[sharing.kept].to(self._device),
            shared_tokens=sharing.shared_tokens,
            layout=build_layout(lengths.tolist(), self._device, self._dtype, sharing),
            predictor_index=sharing.rows[target_positions - 1].to(self._device),
            targets=token_ids[target_positions].to(self._device),
            behaviour_log_probs=batch.behaviour_log_probs[response_rows].to(self._device),
            fresh=self._is_fresh(chosen, responses).to(self._device),
            ages=(self._policy_version - batch.token_versions[response_rows]).to(self._device),
            rows=response_rows,
            response_lengths=responses.to(self._device),
            limit_tokens=int(batch.response_limits[chosen].sum()),
        )

    def _is_fresh(self, chosen: Tensor, responses: Tensor) -> Tensor:
        """bool [response tokens]: tokens of responses that the learner's own version produced whole.

        A token of the current version behind a prefix of an older one was sampled on keys and values that the older
        weights left in the cache: there the learner rightly differs. Versions never fall within a response, so that
        its first token decides.
        """
        first_versions = self._batch.token_versions[self._response_starts[chosen]]
        return (first_versions == self._policy_version).repeat_interleave(responses)

    def _empty(self) -> MicroBatch:
        def none(dtype: torch.dtype) -> Tensor:
            return torch.empty(0, dtype=dtype, device=self._device)

        token = torch.zeros(1, dtype=torch.int64, device=self._device)
        return MicroBatch(
            token_ids=token,
            position_ids=token,
            shared_tokens=0,
            layout=build_layout([1], self._device, self._dtype),
            predictor_index=none(torch.int64),
            targets=none(torch.int64),
            behaviour_log_probs=none(torch.float32),
            fresh=none(torch.bool),
            ages=none(torch.int64),
            rows=torch.empty(0, dtype=torch.int64),
            response_lengths=none(torch.int64),
            limit_tokens=0,
        )


def ranges(lengths: Tensor, starts: Tensor | None = None) -> Tensor:
    """[start, start + length) of each pair laid end to end; starts default to 0. int64 [sum of lengths]."""
    ends = lengths.cumsum(0)
    shift = ends - lengths
    if starts is not None:
        shift = shift - starts
    return torch.arange(int(lengths.sum())) - shift.repeat_interleave(lengths)
