"""Rewards, returns and normalisation against naive loops over responses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from areal_mesh.learner.advantages import Moments, moments, normalise, returns_to_go, token_rewards

Responses = list[list[tuple[float, float]]]
log_probability = st.floats(-20, 0)
responses = st.lists(
    st.lists(st.tuples(log_probability, log_probability), min_size=1, max_size=9), min_size=1, max_size=8
)


def packed(batch: Responses) -> tuple[Tensor, Tensor, Tensor]:
    old = torch.tensor([token[0] for response in batch for token in response])
    reference = torch.tensor([token[1] for response in batch for token in response])
    return old, reference, torch.tensor([len(response) for response in batch])


def naive_returns(batch: Responses, rewards: list[float], beta: float, limit: float) -> list[float]:
    result = []
    for response, reward in zip(batch, rewards, strict=True):
        per_token = [-beta * (old - reference) for old, reference in response]
        per_token[-1] += max(-limit, min(limit, reward))
        result += [math.fsum(per_token[position:]) for position in range(len(per_token))]
    return result


@given(responses, st.floats(-50, 50), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_returns_match_a_loop_over_tokens(batch: Responses, reward: float, beta: float) -> None:
    old, reference, lengths = packed(batch)
    rewards = [reward + number for number in range(len(batch))]
    per_token = token_rewards(old, reference, lengths, torch.tensor(rewards, dtype=torch.float64), beta, 20.0)
    single = [[(float(torch.tensor(a)), float(torch.tensor(b))) for a, b in response] for response in batch]
    expected = naive_returns(single, rewards, beta, 20.0)
    assert returns_to_go(per_token, lengths).tolist() == pytest.approx(expected, abs=1e-9)


def test_without_a_reference_every_token_returns_the_clipped_reward() -> None:
    rewards = torch.tensor([5.0, -70.0], dtype=torch.float64)
    lengths = torch.tensor([2, 3])
    per_token = token_rewards(torch.zeros(5), None, lengths, rewards, 0.1, 20.0)
    assert per_token.tolist() == [0, 5, 0, 0, -20]
    assert returns_to_go(per_token, lengths).tolist() == [5, 5, -20, -20, -20]


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=40))
@settings(deadline=None, max_examples=60)
def test_normalisation_is_that_of_the_biased_float64_variance(values: list[float]) -> None:
    returns = torch.tensor(values, dtype=torch.float64)
    expected = (returns - returns.mean()) / (returns.var(correction=0).sqrt() + 1e-5)
    # Beside eps = 1e-5, the square root of the moments' rounding error is what may differ.
    assert normalise(returns, moments(returns)).double() == pytest.approx(expected, rel=2e-2, abs=2e-2)


def test_normalisation_to_full_precision_where_there_is_spread() -> None:
    returns = torch.tensor([5.0, -5, -5, 4, -3], dtype=torch.float64)
    expected = ((returns - returns.mean()) / (returns.var(correction=0).sqrt() + 1e-5)).float()
    torch.testing.assert_close(normalise(returns, moments(returns)), expected, rtol=1e-7, atol=1e-7)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=30), st.data())
@settings(deadline=None, max_examples=40)
def test_moments_of_ranks_add_up_to_those_of_the_batch(values: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    returns = torch.tensor(values, dtype=torch.float64)
    ranks = Moments(moments(returns[:cut]).values + moments(returns[cut:]).values)
    torch.testing.assert_close(ranks.values, moments(returns).values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("values", [[3.0], [5.0] * 7, [0.1] * 1000, []])
def test_a_batch_without_spread_gives_zero_advantages(values: list[float]) -> None:
    returns = torch.tensor(values, dtype=torch.float64)
    advantages = normalise(returns, moments(returns))
    assert advantages.dtype == torch.float32
    assert advantages.tolist() == pytest.approx([0.0] * len(values), abs=1e-6)
