"""Rewards, returns and normalisation against naive loops over responses."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from areal_mesh.learner.advantages.areal import ArealAdvantage
from areal_mesh.learner.advantages.grpo import GrpoAdvantage
from areal_mesh.learner.advantages.inputs import AdvantageInputs
from areal_mesh.learner.advantages.packed import returns_to_go
from areal_mesh.learner.advantages.rloo import RlooAdvantage
from areal_mesh.learner.advantages.table import ADVANTAGES, build_advantage
from areal_mesh.runtime.settings.advantages import (
    AdvantageSettings,
    ArealAdvantageSettings,
    GrpoAdvantageSettings,
    RlooAdvantageSettings,
)

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


def test_a_response_without_another_in_its_group_gets_nothing_from_rloo() -> None:
    batch: Responses = [[(-1.0, -1.0)] * 2, [(-1.0, -1.0)], [(-1.0, -1.0)]]
    outputs = RlooAdvantage(RlooAdvantageSettings())(inputs_of(batch, [5.0, 5.0, -5.0], [0, 1, 1]))
    assert outputs.advantages.tolist() == [0, 0, 10, -10]


@pytest.mark.parametrize("name", sorted(ADVANTAGES))
def test_equal_rewards_within_groups_say_nothing_to_an_estimate_that_compares_them(name: str) -> None:
    chosen = TypeAdapter[AdvantageSettings](AdvantageSettings).validate_python({"type": name})
    batch: Responses = [[(-1.0, -0.5)] * 3] * 4
    estimate = build_advantage(chosen)
    assert estimate(inputs_of(batch, [0.1, 0.1, -0.3, -0.3], [0, 0, 1, 1])).says_nothing is chosen.compares_a_group
    assert estimate(inputs_of(batch, [0.1] * 4, [0, 0, 1, 1])).says_nothing
    assert not estimate(inputs_of(batch, [0.1, 0.2, 0.1, 0.1], [0, 0, 1, 1])).says_nothing
