"""The statistics of an evaluation, against computations made another way."""

import itertools
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.evaluation.statistics import bootstrap_interval, majority_vote, mean, pass_at_k, quantile

ANSWERS = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.booleans()), min_size=1, max_size=12)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    samples = draw(st.integers(1, 9))
    return samples, draw(st.integers(0, samples)), draw(st.integers(1, samples))


@given(counts())
def test_pass_at_k_is_the_share_of_all_choices_of_k_samples_that_hold_a_right_one(case: tuple[int, int, int]) -> None:
    samples, correct, k = case
    verdicts = [True] * correct + [False] * (samples - correct)
    chosen = [any(choice) for choice in itertools.combinations(verdicts, k)]
    assert pass_at_k(samples, correct, k) == pytest.approx(float(Fraction(sum(chosen), len(chosen))), abs=1e-15)


@given(st.integers(1, 300), st.data())
def test_pass_at_k_agrees_with_the_product_of_humaneval(samples: int, data: st.DataObject) -> None:
    correct, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    if samples - correct < k:
        product = 1.0
    else:
        product = 1.0 - float(np.prod(1.0 - k / np.arange(samples - correct + 1, samples + 1)))
    assert pass_at_k(samples, correct, k) == pytest.approx(product, abs=1e-9)


@given(counts())
def test_pass_at_1_is_the_share_of_right_samples(case: tuple[int, int, int]) -> None:
    samples, correct, _ = case
    assert pass_at_k(samples, correct, 1) == correct / samples


@given(counts())
def test_pass_at_k_grows_with_k(case: tuple[int, int, int]) -> None:
    samples, correct, _ = case
    values = [pass_at_k(samples, correct, k) for k in range(1, samples + 1)]
    assert values == sorted(values)
    assert values[-1] == float(correct > 0)


@pytest.mark.parametrize(("samples", "correct", "k"), [(4, 1, 0), (4, 1, 5), (4, 5, 1), (4, -1, 1)])
def test_impossible_counts_are_refused(samples: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="samples"):
        pass_at_k(samples, correct, k)


@given(ANSWERS)
def test_a_majority_vote_is_the_expectation_over_every_way_to_break_a_tie(answers: list[tuple[str, bool]]) -> None:
    # A spelling is right or wrong, not both.
    answers = [(answer, answer == "a") for answer, _ in answers]
    votes = Counter(answer for answer, _ in answers if answer)
    winners = [word for word in "abc" if votes and votes[word] == max(votes.values())]
    expected = winners.count("a") / len(winners) if winners else 0.0
    assert majority_vote(answers) == expected


@given(ANSWERS)
def test_a_majority_vote_does_not_depend_on_the_order(answers: list[tuple[str, bool]]) -> None:
    shuffled = list(answers)
    random.Random(3).shuffle(shuffled)
    assert majority_vote(shuffled) == majority_vote(answers)


@given(st.lists(st.integers(0, 8).map(lambda right: right / 8), min_size=2, max_size=40), st.integers(0, 99))
def test_an_interval_holds_the_mean_and_repeats_with_its_seed(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(values, seed, draws=200)
    assert (low, high) == bootstrap_interval(values, seed, draws=200)
    assert min(values) <= low <= high <= max(values)
    assert low - 0.05 <= mean(values) <= high + 0.05


def test_an_interval_agrees_with_a_bootstrap_in_numpy() -> None:
    generator = np.random.default_rng(5)
    values = (generator.random(120) < 0.3).astype(float)
    draws = generator.choice(values, size=(20000, len(values))).mean(axis=1)
    expected = np.percentile(draws, [2.5, 97.5])
    assert bootstrap_interval(values.tolist(), 1, draws=20000) == pytest.approx(expected.tolist(), abs=0.01)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = random.Random(7)
    covered = 0
    for seed in range(200):
        values = [float(generator.random() < 0.4) for _ in range(100)]
        low, high = bootstrap_interval(values, seed, draws=200)
        covered += low <= 0.4 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_equal_values_have_a_point_for_an_interval() -> None:
    assert bootstrap_interval([0.5] * 4, 1) == (0.5, 0.5)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0, 1))
def test_a_quantile_is_numpys(values: list[float], share: float) -> None:
    assert quantile(sorted(values), share) == pytest.approx(float(np.quantile(values, share)), abs=1e-12)
