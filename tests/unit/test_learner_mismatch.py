"""The estimate of how far the learner is from the engine."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.learner.passes.mismatch import combine, measure

token = st.tuples(st.floats(-9, 0), st.floats(-9, 0), st.booleans())


@given(st.lists(token, min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_it_is_the_mean_of_r_minus_log_r_minus_one(rows: list[tuple[float, float, bool]]) -> None:
    learner, behaviour, fresh = (torch.tensor(column) for column in zip(*rows, strict=True))
    values = [math.exp(a - b) - (a - b) - 1 for a, b in zip(learner.tolist(), behaviour.tolist(), strict=True)]
    kept = [value for value, row in zip(values, rows, strict=True) if row[2]]
    result = measure(learner, behaviour, fresh)
    assert result.overall == pytest.approx(sum(values) / len(values), rel=1e-6, abs=1e-6)
    assert result.fresh == (pytest.approx(sum(kept) / len(kept), rel=1e-6, abs=1e-6) if kept else None)


def test_no_fresh_token_is_no_number() -> None:
    log_probs = torch.tensor([-1.0])
    assert measure(log_probs, log_probs, torch.tensor([False])).fresh is None


def test_micro_batches_add_up() -> None:
    learner, behaviour = torch.tensor([-1.0, -2, -3]), torch.tensor([-1.5, -2, -1])
    fresh = torch.tensor([True, False, True])
    parts = [measure(learner[part], behaviour[part], fresh[part]) for part in (slice(0, 1), slice(1, 3))]
    whole = measure(learner, behaviour, fresh)
    assert combine(parts).fresh == pytest.approx(whole.fresh)
    assert combine(parts).overall == pytest.approx(whole.overall)
