"""A prompt file is checked before a run begins."""

import json
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.cli import prompt_check
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import faults
from areal_mesh.cli.launcher import launch
from areal_mesh.cli.prompt_check import check_lines, prompt_faults
from areal_mesh.recipes.arithmetic.problems import write_prompts
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.problem_files import ProblemFile
from areal_mesh.runtime.settings import RunSettings, load_settings


def written(path: Path, *answers: Any) -> Path:
    lines = [json.dumps({"id": str(n), "problem": "1+1", "answer": answer}) for n, answer in enumerate(answers)]
    path.write_text("\n".join(lines) + "\n")
    return path


def settings_of(file: Path, *overrides: str) -> RunSettings:
    return load_settings("trial", ["model.recipe=none", "prompts.count=0", f"prompts.file={file}", *overrides])


def test_references_that_match_themselves_in_a_box_pass(tmp_path: Path) -> None:
    answers = ["2", 0.00001, r"\frac{1}{2}", ["(0,1]", "x^2+1"], r"\text{(A)}", "9+9\n#### 1,800", "Monday"]
    assert list(prompt_faults(settings_of(written(tmp_path / "p.jsonl", *answers)))) == []


def test_references_that_cannot_match_and_bad_lines_are_named_with_their_count(tmp_path: Path) -> None:
    file = written(tmp_path / "p.jsonl", "2", "{", "the answer is 5", True, *["a}b"] * 4, "3")
    faults = list(prompt_faults(settings_of(file)))
    assert faults[0].startswith(f"prompts.file = {file}, line 2: answer: '{{' does not match itself in a box, so that ")
    assert faults[2].endswith("line 4: answer: expected a string, a number, or a list of them, got true")
    assert len(faults) == prompt_check.LINES_NAMED + 1
    assert faults[-1] == f"prompts.file = {file}: 7 of 9 lines cannot be used; mend them or take them out"


def test_only_the_problems_that_a_run_uses_are_checked(tmp_path: Path) -> None:
    file = written(tmp_path / "p.jsonl", "2", "3", "{")
    assert list(prompt_faults(settings_of(file, "prompts.count=2"))) == []
    assert list(prompt_faults(settings_of(file, "prompts.count=3"))) != []


def test_the_protocol_that_grades_is_the_one_that_checks(tmp_path: Path) -> None:
    file = written(tmp_path / "p.jsonl", "the answer is 5")
    assert list(prompt_faults(settings_of(file, "verifier.protocol=strict_qwen"))) == []


def test_each_reference_is_tried_once_and_plain_numbers_never(tmp_path: Path) -> None:
    tried: list[str] = []

    def matches(reference: str) -> bool:
        tried.append(reference)
        return True

    file = written(tmp_path / "p.jsonl", "x", "x", "12", "-3.50", ["x", "y"])
    assert [fault for _, fault in check_lines(ProblemFile(file), 0, matches)] == [""] * 5
    assert tried == ["x", "y"]


def test_a_long_check_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prompt_check, "_SECONDS_BETWEEN_LINES", -1.0)
    file = written(tmp_path / "p.jsonl", "1", "2")
    assert len(list(check_lines(ProblemFile(file), 0, lambda _: True))) == 2
    assert capsys.readouterr().err == f"{file}: 1 lines checked\n{file}: 2 lines checked\n"


def test_what_a_recipe_made_is_not_looked_at_and_what_is_missing_is_said_elsewhere(tmp_path: Path) -> None:
    write_prompts(tmp_path / "made.jsonl", 3, seed=1)
    assert list(prompt_faults(load_settings("trial", [f"prompts.file={tmp_path / 'made.jsonl'}"]))) == []
    assert list(prompt_faults(settings_of(tmp_path / "none.jsonl"))) == []


def test_a_run_with_such_a_file_makes_nothing_and_does_not_begin(tmp_path: Path) -> None:
    file = written(tmp_path / "p.jsonl", "{")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    places = [f"model.folder={tmp_path / 'model'}", f"directory={tmp_path / 'runs'}"]
    overrides = ["model.recipe=none", f"prompts.file={file}", *places]
    assert [fault for fault in faults(load_settings("trial", overrides)) if "line 1" in fault]
    with pytest.raises(CommandFailed, match="line 1: answer: ") as failure:
        launch("trial", overrides, fresh=False)
    assert failure.value.exit_code == EXIT_CANNOT_START
    assert not (tmp_path / "runs").exists()
