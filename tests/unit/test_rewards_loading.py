"""A reward function is found, its arguments are read from it, and what is wrong is named by file and line."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.rewards.loading import RewardFunction, load_function
from areal_mesh.rewards.table import REWARDS, targets_of
from areal_mesh.rewards.values import RewardUnusable
from areal_mesh.rewards.worker import answer
from areal_mesh.runtime.settings import SettingsError, VerifierSettings, load_settings
from areal_mesh.runtime.settings.base import kinds
from areal_mesh.runtime.settings.rewards import OneRewardSettings

GROUP = {
    "problem": "2 + 2?",
    "references": ["4"],
    "source": "sums",
    "responses": ["four", "4"],
    "verdicts": ["incorrect", "correct"],
    "finish_reasons": ["stop", "length"],
    "tokens": [3, 1],
}


def loaded(folder: Path, code: str, name: str = "score", **options: Any) -> RewardFunction:
    file = folder / "mine.py"
    file.write_text(code, encoding="utf-8")
    return load_function(f"{file}:{name}", options)


def answered(function: RewardFunction, seconds: float = 5.0) -> dict[str, Any]:
    return asyncio.run(answer(function, GROUP, seconds))


@pytest.mark.parametrize(
    ("code", "rewards"),
    {
        "one response": ("def score(response, references):\n    return response in references", [0.0, 1.0]),
        "all of it": (
            "def score(problem, response, references, source, verdict, finish_reason, tokens):\n"
            "    return [problem, source, verdict, finish_reason].count('correct') + tokens",
            [3.0, 2.0],
        ),
        "a group": ("def score(responses, tokens):\n    return [t == min(tokens) for t in tokens]", [0.0, 1.0]),
        "asynchronous": ("async def score(verdict):\n    return 2.5 if verdict == 'correct' else 0", [0.0, 2.5]),
        "keywords": ("def score(**given):\n    return len(given['response'])", [4.0, 1.0]),
    }.values(),
)
def test_a_function_is_given_what_it_names(tmp_path: Path, code: str, rewards: list[float]) -> None:
    assert answered(loaded(tmp_path, code)) == {"rewards": rewards}


def test_options_are_given_with_each_call_and_held_to_what_the_function_takes(tmp_path: Path) -> None:
    code = "def score(tokens, per_token=1):\n    return tokens * per_token"
    assert answered(loaded(tmp_path, code, per_token=2)) == {"rewards": [6.0, 2.0]}
    with pytest.raises(RewardUnusable, match=r"options\.speed: score takes no such option"):
        loaded(tmp_path, code, speed=2)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            "def score(response, answer): ...",
            "score takes 'answer', which there is not; a reward takes of one response",
        ),
        ("def score(response, responses): ...", r"score takes response \(of one response\) and responses \(of all\)"),
        ("def scores(response): ...", "has no function 'score'; did you mean scores"),
        ("import json\nx = 1 / 0", r"mine\.py:2: ZeroDivisionError: division by zero"),
        ("def score(response)\n    return 1", r"mine\.py:1: SyntaxError"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(tmp_path: Path, code: str, what: str) -> None:
    with pytest.raises(RewardUnusable, match=what):
        loaded(tmp_path, code)


def test_a_file_or_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(RewardUnusable, match=r"nowhere\.py: no such file, looked for from"):
        load_function("nowhere.py:score", {})
    with pytest.raises(RewardUnusable, match=r"module no_such_module: .*ModuleNotFoundError"):
        load_function("no_such_module:score", {})


@pytest.mark.parametrize(
    ("body", "error", "cause"),
    [
        ("return int('x')", r"mine.py:2: ValueError: invalid literal", "mine.py:2: ValueError"),
        ("return 'high'", "returned 'high' for response 0; return a finite number", "no finite number"),
        ("return float('nan')", "returned nan for response 0", "no finite number"),
        ("return None", "returned None for response 0", "no finite number"),
    ],
)
def test_a_call_that_gives_no_number_says_where(tmp_path: Path, body: str, error: str, cause: str) -> None:
    found = answered(loaded(tmp_path, f"def score(response):\n    {body}"))
    assert error in found["error"]
    assert cause in found["cause"]


def test_a_list_of_another_length_is_refused(tmp_path: Path) -> None:
    found = answered(loaded(tmp_path, "def score(responses):\n    return [1]"))
    assert found["error"] == "returned 1 numbers for 2 responses; return one for each"


def test_an_asynchronous_function_is_ended_at_its_deadline(tmp_path: Path) -> None:
    code = "import asyncio\nasync def score(response):\n    await asyncio.Event().wait()"
    assert "no answer within 0.05 s" in answered(loaded(tmp_path, code), seconds=0.05)["error"]


@pytest.mark.parametrize(
    "given", ["mine.py:score", 'reward = "x"', {"function": "mine.py:score"}, ["mine.py:score"], [{"function": "a:b"}]]
)
def test_settings_take_a_text_a_section_or_a_list(given: Any) -> None:
    if given == 'reward = "x"':
        with pytest.raises(SettingsError, match=r"verifier\.reward\.0\.function: expected FILE\.py:FUNCTION"):
            load_settings("trial", [f"verifier.reward={given}"])
        return
    [reward] = VerifierSettings.model_validate({"reward": given}).reward
    assert targets_of([reward])[0].place in ("mine.py:score", "a:b")


def test_a_url_is_a_judge_and_terms_have_names_of_their_own() -> None:
    [judge] = load_settings("trial", ["verifier.reward=http://127.0.0.1:9000/judge"]).verifier.reward
    assert (judge.type, judge.term) == ("http", "judge")
    with pytest.raises(SettingsError, match="'b' names another term already"):
        load_settings("trial", ['verifier.reward=["a.py:b", "c.py:b"]'])
    with pytest.raises(SettingsError, match="reward_alone = true with no term"):
        load_settings("trial", ["verifier.reward_alone=true"])
    with pytest.raises(SettingsError, match=r"score may take 40 s, .* generator\.verify_seconds = 30"):
        load_settings("trial", ['verifier.reward={function="a.py:score",seconds=40}', "generator.verify_seconds=30"])
    with pytest.raises(SettingsError, match="a password in it would be printed"):
        load_settings("trial", ["verifier.reward=http://me:secret@127.0.0.1/judge"])


def test_the_table_has_every_kind_of_the_settings_and_the_page_names_them() -> None:
    assert sorted(REWARDS) == sorted(kinds(OneRewardSettings))
    page = (Path(__file__).parents[2] / "docs" / "verifier.md").read_text(encoding="utf-8")
    assert [name for name in REWARDS if f'`type = "{name}"`' not in page] == []
