"""The estimate of how far the learner is from the engine."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.learner.passes.mismatch import OLDEST_AGE, combine, measure

token = st.tuples(st.floats(-9, 0), st.floats(-9, 0), st.booleans(), st.integers(0, 12))


@given(st.lists(token, min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_it_is_the_mean_of_r_minus_log_r_minus_one(rows: list[tuple[float, float, bool, int]]) -> None:
    learner, behaviour, fresh, ages = (torch.tensor(column) for column in zip(*rows, strict=True))
    values = [math.exp(a - b) - (a - b) - 1 for a, b in zip(learner.tolist(), behaviour.tolist(), strict=True)]
    kept = [value for value, row in zip(values, rows, strict=True) if row[2]]
    result = measure(learner, behaviour, fresh, ages)
    assert result.overall == pytest.approx(sum(values) / len(values), rel=1e-6, abs=1e-6)
    assert result.fresh == (pytest.approx(sum(kept) / len(kept), rel=1e-6, abs=1e-6) if kept else None)
    figures = result.figures()
    for age in range(OLDEST_AGE + 1):
        of_age = [value for value, row in zip(values, rows, strict=True) if min(row[3], OLDEST_AGE) == age]
        expected = pytest.approx(sum(of_age) / len(of_age), rel=1e-6, abs=1e-6) if of_age else None
        assert figures.get(f"mismatch_kl_age_{age}") == expected
    columns = (learner.tolist(), behaviour.tolist(), fresh.tolist())
    differences = sorted(abs(a - b) for a, b, is_fresh in zip(*columns, strict=True) if is_fresh)
    if differences:
        assert figures["mismatch_max"] == pytest.approx(differences[-1], rel=1e-6, abs=1e-6)
        at = differences[math.ceil(0.99 * len(differences)) - 1]
        assert at * 0.999 - 1e-10 <= figures["mismatch_p99"] <= at * 1.1 + 1e-10


def test_no_fresh_token_is_no_number() -> None:
    log_probs = torch.tensor([-1.0])
    stale = measure(log_probs, log_probs, torch.tensor([False]), torch.tensor([1]))
    assert stale.fresh is None
    assert stale.figures() == {"mismatch_kl_all": 0.0, "mismatch_kl_age_1": 0.0}


def test_a_few_tokens_that_are_far_off_show_in_the_tail_and_hardly_in_the_mean() -> None:
    behaviour = torch.full((1000,), -1.0)
    learner = behaviour.clone()
    learner[:15] -= 0.5
    figures = measure(learner, behaviour, torch.ones(1000).bool(), torch.zeros(1000).long()).figures()
    assert figures["mismatch_kl"] < 0.002
    assert figures["mismatch_p99"] == pytest.approx(0.5, rel=0.1)
    assert figures["mismatch_max"] == pytest.approx(0.5)


def test_where_both_agree_every_figure_is_zero() -> None:
    log_probs = -torch.rand(64) * 9
    figures = measure(log_probs, log_probs, torch.ones(64).bool(), torch.zeros(64).long()).figures()
    assert set(figures.values()) == {0.0}
    assert set(figures) >= {"mismatch_kl", "mismatch_p99", "mismatch_max", "mismatch_kl_age_0"}


def test_micro_batches_add_up() -> None:
    learner, behaviour = torch.tensor([-1.0, -2, -3]), torch.tensor([-1.5, -2, -1])
    fresh = torch.tensor([True, False, True])
    ages = torch.tensor([0, 1, 0])
    cut = (slice(0, 1), slice(1, 3))
    parts = [measure(learner[part], behaviour[part], fresh[part], ages[part]) for part in cut]
    whole = measure(learner, behaviour, fresh, ages)
    assert combine(parts).figures() == pytest.approx(whole.figures())
    assert combine(parts).fresh == pytest.approx(whole.fresh)
    assert combine(parts).overall == pytest.approx(whole.overall)
