"""`areal-mesh config check` says in a second what `up` would find in a minute."""

import json
import time
from pathlib import Path

import pytest

from areal_mesh.cli.config import check
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.launcher import launch
from areal_mesh.cli.shown_settings import PROMPTS_READ
from tests.unit.tiny_model import write_tiny_model

SECONDS = 10.0
"""On a machine at work with other things; about one on a machine that is not."""


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    model, file = write_tiny_model(tmp_path / "model"), tmp_path / "mine.jsonl"
    rows = [{"question": f"Compute 1 + {n} .", "solution": str(1 + n)} for n in range(PROMPTS_READ + 500)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "my_reward.py").write_text(
        "def score(response, references):\n    return 2.0 * (references[0] in response)\n\n"
        "def broken(response):\n    return {}[response]\n",
        encoding="utf-8",
    )
    places = {"model.folder": model, "prompts.file": file, "directory": tmp_path / "runs", "model.recipe": "none"}
    return [*(f"{key}={value}" for key, value in places.items()), "prompts.template=chat"]


def test_the_check_shows_prompts_rewards_and_gpus(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    check(["trial"], [*given, f"verifier.reward={tmp_path / 'my_reward.py'}:score"])
    assert time.monotonic() - began < SECONDS
    lines = [line.removeprefix("trial: ") for line in capsys.readouterr().out.splitlines()]
    file = tmp_path / "mine.jsonl"
    guessed = "`question` is the problem, `solution` is the answer, problems are numbered"
    assert lines[1] == f"prompts.file = {file}: the first 1,000 problems were read; {guessed}"
    assert lines[2] == "the first prompt, 1, by its chat template: 10 tokens, answer 1"
    assert lines[3] == "    | <|user|>Compute 1 + 0 .<|assistant|>"
    assert lines[4] == "reward score: 2 for the first prompt's answer in a box, 0 for 'I do not know.'"
    assert lines[5].endswith("here, the run takes 0")


def test_a_reward_that_fails_on_the_first_prompt_fails_the_check_and_the_run(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [*given, f"verifier.reward={tmp_path / 'my_reward.py'}:broken"]
    with pytest.raises(CommandFailed, match="1 of 1 do not hold"):
        check(["trial"], broken)
    fault = "verifier.reward: reward broken: my_reward.py:5: KeyError: 'The answer is \\\\boxed{1}.'"
    assert f"trial: {fault}" in capsys.readouterr().out.splitlines()
    with pytest.raises(CommandFailed, match=r"verifier\.reward: reward broken: my_reward\.py:5: KeyError"):
        launch("trial", [*broken, "controller.listen=127.0.0.1:7499"], fresh=False)
    assert not (tmp_path / "runs").exists()


def test_the_check_reads_the_first_thousand_prompts_and_names_a_line(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[PROMPTS_READ + 1] = "{"
    file.write_text("\n".join(lines), encoding="utf-8")
    check(["trial"], given)
    lines[6] = '{"question": "Compute", "solution": null}'
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CommandFailed):
        check(["trial"], given)
    assert f"prompts.file = {file}, line 7: answer: expected a string, a number" in capsys.readouterr().out
