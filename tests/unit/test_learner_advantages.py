"""Rewards, returns and normalisation against naive loops over responses."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from areal_mesh.learner.advantages.areal import ArealAdvantage
from areal_mesh.learner.advantages.grpo import GrpoAdvantage
from areal_mesh.learner.advantages.inputs import AdvantageInputs
from areal_mesh.learner.advantages.packed import returns_to_go
from areal_mesh.runtime.settings.advantages import ArealAdvantageSettings, GrpoAdvantageSettings

Responses = list[list[tuple[float, float]]]
log_probability = st.floats(-20, 0)
responses = st.lists(
    st.lists(st.tuples(log_probability, log_probability), min_size=1, max_size=9), min_size=1, max_size=8
)


def packed(batch: Responses) -> tuple[Tensor, Tensor, Tensor]:
    old = torch.tensor([token[0] for response in batch for token in response])
    reference = torch.tensor([token[1] for response in batch for token in response])
    return old, reference, torch.tensor([len(response) for response in batch])


def naive_returns(batch: Responses, rewards: list[float], beta: float) -> list[float]:
    result = []
    for response, reward in zip(batch, rewards, strict=True):
        per_token = [-beta * (old - reference) for old, reference in response]
        per_token[-1] += reward
        result += [math.fsum(per_token[position:]) for position in range(len(per_token))]
    return result


def inputs_of(batch: Responses, rewards: list[float], groups: list[int] | None = None) -> AdvantageInputs:
    old, reference, lengths = packed(batch)
    return AdvantageInputs(
        rewards=torch.tensor(rewards, dtype=torch.float64),
        response_lengths=lengths,
        group_index=torch.tensor(groups or [0] * len(rewards)),
        behaviour_log_probs=old,
        reference_log_probs=reference,
    )


@given(responses, st.floats(-50, 50), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_returns_match_a_loop_over_tokens(batch: Responses, reward: float, beta: float) -> None:
    rewards = [reward + number for number in range(len(batch))]
    inputs = inputs_of(batch, rewards)
    per_token = ArealAdvantage(ArealAdvantageSettings(kl_coefficient=beta)).token_rewards(inputs)
    single = [[(float(torch.tensor(a)), float(torch.tensor(b))) for a, b in response] for response in batch]
    expected = naive_returns(single, rewards, beta)
    assert returns_to_go(per_token, inputs.response_lengths).tolist() == pytest.approx(expected, abs=1e-9)


def test_without_a_reference_every_token_returns_the_reward() -> None:
    inputs = replace(inputs_of([[(0, 0)] * 2, [(0, 0)] * 3], [5.0, -20.0]), reference_log_probs=None)
    per_token = ArealAdvantage(ArealAdvantageSettings(kl_coefficient=0.1)).token_rewards(inputs)
    assert per_token.tolist() == [0, 5, 0, 0, -20]
    assert returns_to_go(per_token, inputs.response_lengths).tolist() == [5, 5, -20, -20, -20]


@given(responses, st.data())
@settings(deadline=None, max_examples=60)
def test_areal_normalises_over_all_tokens_of_the_batch(batch: Responses, data: st.DataObject) -> None:
    rewards = [data.draw(st.floats(-20, 20)) for _ in batch]
    outputs = ArealAdvantage(ArealAdvantageSettings(kl_coefficient=0.01))(inputs_of(batch, rewards))
    single = [[(float(torch.tensor(a)), float(torch.tensor(b))) for a, b in response] for response in batch]
    returns = np.array(naive_returns(single, rewards, 0.01))
    expected = (returns - returns.mean()) / (returns.std() + 1e-5)
    assert outputs.advantages.dtype == torch.float32
    assert outputs.advantages.tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-4)
    assert outputs.figures["return_mean"] == pytest.approx(returns.mean(), abs=1e-9)
    assert outputs.figures["return_std"] == pytest.approx(returns.std(), abs=1e-7)


@pytest.mark.parametrize("rewards", [[3.0], [5.0] * 7])
def test_a_batch_without_spread_gives_zero_advantages(rewards: list[float]) -> None:
    batch: Responses = [[(-1.0, -1.0)] * (number + 1) for number in range(len(rewards))]
    for estimate in (ArealAdvantage(ArealAdvantageSettings()), GrpoAdvantage(GrpoAdvantageSettings())):
        assert not estimate(inputs_of(batch, rewards)).advantages.any()


@given(st.lists(st.tuples(st.floats(-20, 20), st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=24))
@settings(deadline=None, max_examples=80)
def test_grpo_compares_a_response_with_its_group(rows: list[tuple[float, int, int]]) -> None:
    batch: Responses = [[(-1.0, -1.0)] * length for _, _, length in rows]
    rewards, groups = [row[0] for row in rows], [row[1] for row in rows]
    inputs = inputs_of(batch, rewards, groups)
    for divide in (True, False):
        outputs = GrpoAdvantage(GrpoAdvantageSettings(divide_by_deviation=divide))(inputs)
        expected = []
        for reward, group, length in rows:
            peers = np.array([other[0] for other in rows if other[1] == group])
            advantage = (reward - peers.mean()) / (peers.std() + 1e-6 if divide else 1.0)
            expected += [advantage] * length
        assert outputs.advantages.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("estimate", [ArealAdvantage(ArealAdvantageSettings()), GrpoAdvantage(GrpoAdvantageSettings())])
def test_the_order_of_responses_changes_nothing_but_the_order(estimate: Any) -> None:
    batch: Responses = [[(-1.0, -0.5)] * 2, [(-2.0, -1.0)] * 3, [(-0.1, -0.3)], [(-0.7, -0.3)] * 4]
    rewards, groups, order = [1.0, -1.0, 5.0, 2.0], [0, 0, 1, 1], [2, 0, 3, 1]
    lengths = [len(response) for response in batch]
    straight = estimate(inputs_of(batch, rewards, groups)).advantages.split(lengths)
    moved = inputs_of([batch[i] for i in order], [rewards[i] for i in order], [groups[i] for i in order])
    permuted = estimate(moved).advantages.split([lengths[place] for place in order])
    for place, values in zip(order, permuted, strict=True):
        torch.testing.assert_close(values, straight[place])
