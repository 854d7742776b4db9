"""A batch that does not fit together is refused with the field's name and what it should be."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from areal_mesh.learner.batches.batch import InvalidBatchError, TrainingBatch, validate
from areal_mesh.learner.batches.micro_batch import MicroBatchBuilder, ranges


@pytest.fixture
def batch() -> TrainingBatch:
    return TrainingBatch(
        token_ids=torch.tensor([1, 2, 3, 4, 5, 6, 7]),
        sequence_lengths=torch.tensor([3, 4]),
        prompt_lengths=torch.tensor([2, 1]),
        behaviour_log_probs=torch.tensor([-0.1, -0.2, -0.3, -0.4]),
        token_versions=torch.tensor([3, 2, 3, 3]),
        rewards=torch.tensor([5.0, -5.0], dtype=torch.float64),
        group_index=torch.tensor([0, 0]),
        response_limits=torch.tensor([3, 3]),
        truncated=torch.tensor([False, True]),
    )


def test_a_sound_batch_passes(batch: TrainingBatch) -> None:
    validate(batch, vocabulary_size=8, policy_version=3)
    assert batch.response_lengths.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("token_ids", torch.tensor([1, 2, 3, 4, 5, 6]), "token_ids has 6 values: it should have 7"),
        ("token_ids", torch.tensor([1, 2, 3, 4, 5, 6, 8]), "vocabulary is 0 to 7"),
        ("token_ids", torch.ones(7), "should be 1-D torch.int64"),
        ("prompt_lengths", torch.tensor([2]), "prompt_lengths has 1 values: it should have 2"),
        ("prompt_lengths", torch.tensor([0, 3]), "a prompt is empty"),
        ("prompt_lengths", torch.tensor([2, 4]), "sequence 1 has no response token"),
        ("behaviour_log_probs", torch.zeros(5), "behaviour_log_probs has 5 values: it should have 4"),
        ("behaviour_log_probs", torch.tensor([0.0, 0, 0, 0.5]), "at most 0"),
        ("behaviour_log_probs", torch.tensor([0.0, 0, 0, -torch.inf]), "finite"),
        ("token_versions", torch.tensor([3, 2, 3, 4]), "learner is at version 3"),
        ("rewards", torch.tensor([5.0, torch.nan], dtype=torch.float64), "rewards must be finite"),
        ("rewards", torch.zeros(2), "should be 1-D torch.float64"),
        ("group_index", torch.zeros(3, dtype=torch.int64), "group_index has 3 values"),
        ("truncated", torch.zeros(2), "truncated is torch.float32"),
        ("response_limits", torch.tensor([3]), "response_limits has 1 values: it should have 2"),
    ],
)
def test_a_fault_is_named(batch: TrainingBatch, field: str, value: Tensor, message: str) -> None:
    with pytest.raises(InvalidBatchError, match=message):
        validate(replace(batch, **{field: value}), vocabulary_size=8, policy_version=3)


def test_a_batch_without_sequences_is_refused(batch: TrainingBatch) -> None:
    empty = TrainingBatch(**{name: getattr(batch, name)[:0] for name in vars(batch)})
    with pytest.raises(InvalidBatchError, match="no sequences"):
        validate(empty, 8, 3)


def test_a_micro_batch_lines_tokens_up_with_their_predictors(batch: TrainingBatch) -> None:
    builder = MicroBatchBuilder(batch, policy_version=3, device=torch.device("cpu"), dtype=torch.float32)
    data = builder.build([1, 0])
    assert data.token_ids.tolist() == [4, 5, 6, 7, 1, 2, 3]
    assert data.position_ids.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert data.targets.tolist() == [5, 6, 7, 3]
    assert data.token_ids[data.predictor_index].tolist() == [4, 5, 6, 2]
    assert data.behaviour_log_probs.tolist() == pytest.approx([-0.2, -0.3, -0.4, -0.1])
    # The first response began under version 2: what version 3 went on with stands on its keys and values.
    assert data.fresh.tolist() == [False, False, False, True]
    assert data.rows.tolist() == [1, 2, 3, 0], "places in the whole batch"
    assert (data.response_lengths.tolist(), data.limit_tokens) == ([3, 1], 6)


def test_ranges_lay_intervals_end_to_end() -> None:
    assert ranges(torch.tensor([2, 0, 3]), torch.tensor([5, 9, 1])).tolist() == [5, 6, 1, 2, 3]
