"""Verdicts become rewards; errors do not."""

import math
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.runtime.settings import AlgorithmSettings
from areal_mesh.verifier.reward_terms import format_check, length_penalty
from areal_mesh.verifier.rewards import (
    GradedResponse,
    UnknownTerm,
    compose,
    load_terms,
)

LENGTH_PENALTY = EntryPoint(
    "length_penalty", "areal_mesh.verifier.reward_terms:length_penalty", "areal_mesh.reward_terms"
)


# Those of AReaL v0.1.1's distilled models, and of v0.1's 7B-zero.
@pytest.mark.parametrize(("scale", "bias", "correct", "incorrect"), [(5.0, 0.0, 5.0, -5.0), (0.5, -1.0, 1.0, 0.0)])
def test_the_published_rewards_are_given(scale: float, bias: float, correct: float, incorrect: float) -> None:
    responses = [GradedResponse("a", "correct"), GradedResponse("b", "incorrect"), GradedResponse("c", "error")]
    algorithm = AlgorithmSettings(reward_scale=scale, reward_bias=bias)
    rewards = [composed.reward for composed in compose(responses, algorithm, {})]

    assert rewards == [correct, incorrect, None]


def test_reward_is_clipped() -> None:
    algorithm = AlgorithmSettings(reward_scale=50.0, reward_clip=20.0)
    rewards = compose([GradedResponse("a", "correct"), GradedResponse("b", "incorrect")], algorithm, {})

    assert [composed.reward for composed in rewards] == [20.0, -20.0]


def test_plugged_in_term_is_loaded_by_entry_point_and_added() -> None:
    chosen = {"length_penalty": {"free_tokens": 1000, "penalty_per_1000": 0.5}}
    terms = load_terms(chosen, lambda: [LENGTH_PENALTY])
    responses = [
        GradedResponse("long", "correct", token_count=5000),
        GradedResponse("short", "correct", token_count=800),
        GradedResponse("long and wrong", "incorrect", token_count=5000),
        GradedResponse("broken", "error"),
    ]
    composed = compose(responses, AlgorithmSettings(), terms)

    assert [item.reward for item in composed] == [3.0, 5.0, -5.0, None]
    assert composed[0].parts == {"correctness": 5.0, "length_penalty": -2.0}


def test_unknown_term_is_refused_with_what_is_installed() -> None:
    with pytest.raises(UnknownTerm, match=r"no reward term 'speed'.*length_penalty"):
        load_terms({"speed": {}}, lambda: [LENGTH_PENALTY])


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"penalty_per_1000": True}, "penalty_per_1000: Input should be a valid number"),
        ({"penalty_per_1000": math.inf}, "penalty_per_1000: Input should be a finite number"),
        ({"free_tokens": "1"}, "free_tokens: Input should be a valid integer"),
        ({"only_correct": 1}, "only_correct: Input should be a valid boolean"),
        ({"tokens": 1}, "tokens: Unexpected keyword argument"),
        ({"free_tokens": -1}, "zero or more"),
    ],
)
def test_an_option_of_another_type_than_the_terms_is_refused_by_name(option: dict[str, object], says: str) -> None:
    options = {"free_tokens": 1, "penalty_per_1000": 0.5} | option
    with pytest.raises(ValueError, match=says):
        load_terms({"length_penalty": options}, lambda: [LENGTH_PENALTY])


def test_length_penalty_needs_token_counts() -> None:
    with pytest.raises(ValueError, match="needs token_count"):
        length_penalty(free_tokens=0, penalty_per_1000=1.0)([GradedResponse("x", "correct")])
    with pytest.raises(ValueError, match="zero or more"):
        length_penalty(free_tokens=-1, penalty_per_1000=1.0)


def test_format_check_looks_for_the_answer_and_the_template() -> None:
    term = format_check(penalty=1.0, opening="<think>", closing="</think>")
    responses = [r"<think>so</think>\boxed{1}", r"\boxed{1}", "<think>so</think>", r"</think><think>\boxed{1}"]

    assert list(term([GradedResponse(text, "correct") for text in responses])) == [0.0, -1.0, -1.0, -1.0]


def test_a_term_that_miscounts_is_an_error() -> None:
    with pytest.raises(ValueError, match="returned 0 numbers for 1"):
        compose([GradedResponse("a", "correct")], AlgorithmSettings(), {"broken": lambda responses: []})


@settings(deadline=None)
@given(st.floats(-100, 100), st.floats(-10, 10), st.floats(0.1, 50))
def test_reward_follows_the_formula(scale: float, bias: float, clip: float) -> None:
    algorithm = AlgorithmSettings(reward_scale=scale, reward_bias=bias, reward_clip=clip)
    right, wrong = compose([GradedResponse("a", "correct"), GradedResponse("b", "incorrect")], algorithm, {})

    assert right.reward == max(-clip, min(clip, (1 - bias) * scale))
    assert wrong.reward == max(-clip, min(clip, (-1 - bias) * scale))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_term_that_returns_no_finite_number_gives_no_reward(value: float) -> None:
    with pytest.raises(ValueError, match=r"reward term 'broken' returned .*: give finite numbers"):
        compose([GradedResponse("a", "incorrect")], AlgorithmSettings(), {"broken": lambda responses: [value]})
