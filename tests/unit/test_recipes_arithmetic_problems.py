"""The arithmetic task: problems, their worked solutions and the prompt file."""

import json
import random
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.recipes.arithmetic.problems import (
    MAX_STEPS,
    MAX_TOTAL,
    MIN_STEPS,
    Problem,
    SolutionStyle,
    Term,
    generate_problems,
    worked_solution,
    write_prompts,
)
from areal_mesh.runtime.made import NotMadeHere, file_mark

SEEDS = st.integers(min_value=0, max_value=2**32)


def boxed(solution: str) -> str:
    return solution.rsplit("\\boxed{", 1)[1].removesuffix("}")


@given(SEEDS)
def test_the_same_seed_gives_the_same_problems_and_none_twice(seed: int) -> None:
    longer = list(islice(generate_problems(seed), 60))
    assert list(islice(generate_problems(seed), 40)) == longer[:40]
    assert len(set(longer)) == 60


@given(SEEDS)
def test_the_gold_answer_is_the_value_of_the_expression(seed: int) -> None:
    for problem in islice(generate_problems(seed), 20):
        assert MIN_STEPS <= len(problem.terms) <= MAX_STEPS
        assert int(problem.answer) == problem.first + sum(
            term.digit if term.sign == "+" else -term.digit for term in problem.terms
        )


@given(SEEDS)
def test_running_totals_of_right_solutions_stay_in_bounds(seed: int) -> None:
    for problem in islice(generate_problems(seed), 20):
        total = problem.first
        for term in problem.terms:
            total = term.applied_to(total)
            assert 0 <= total <= MAX_TOTAL


def test_a_worked_solution_shows_each_step_and_boxes_the_answer() -> None:
    problem = Problem(7, (Term("+", 5), Term("-", 3)))
    assert problem.text == "Compute 7+5-3."
    assert worked_solution(problem, random.Random(0), SolutionStyle()) == "7+5=12\n12-3=9\n\\boxed{9}"


def test_a_check_repeats_the_step_backwards() -> None:
    problem = Problem(7, (Term("+", 5), Term("-", 3)))
    solution = worked_solution(problem, random.Random(0), SolutionStyle(check_probability=1.0))
    assert solution == "7+5=12 (12-5=7)\n12-3=9 (9+3=12)\n\\boxed{9}"


@given(SEEDS)
def test_right_solutions_box_the_gold_answer(seed: int) -> None:
    generator = random.Random(seed)
    for problem in islice(generate_problems(seed), 10):
        assert boxed(worked_solution(problem, generator, SolutionStyle(0.0, 0.5))) == problem.answer


@given(SEEDS)
def test_one_mistake_or_more_always_ends_in_a_wrong_answer(seed: int) -> None:
    generator = random.Random(seed)
    for problem in islice(generate_problems(seed), 10):
        solution = worked_solution(problem, generator, SolutionStyle(mistake_probability=0.5))
        steps = [line.split("=") for line in solution.splitlines()[:-1]]
        mistaken = any(_value(left) != int(result) for left, result in steps)
        assert (boxed(solution) != problem.answer) == mistaken


def _value(left: str) -> int:
    sign = "+" if "+" in left else "-"
    total, digit = left.split(sign)
    return Term("+" if sign == "+" else "-", int(digit)).applied_to(int(total))


def test_a_mistake_is_carried_on() -> None:
    problem = Problem(1, (Term("+", 1), Term("+", 1), Term("+", 1)))
    solution = worked_solution(problem, random.Random(0), SolutionStyle(mistake_probability=1.0))
    lines = solution.splitlines()
    for before, after in pairwise(lines[:-1]):
        assert after.split("+")[0] == before.split("=")[1]


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_probability_out_of_range_is_refused_by_name(value: float) -> None:
    with pytest.raises(ValueError, match="check_probability"):
        SolutionStyle(check_probability=value)


def test_the_prompt_file_has_the_fields_of_real_data_sets(tmp_path: Path) -> None:
    path = tmp_path / "data" / "prompts.jsonl"
    assert write_prompts(path, 25, seed=3)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(records) == 25
    assert all(set(record) == {"id", "problem", "answer", "source"} for record in records)
    assert all(isinstance(value, str) for record in records for value in record.values())
    assert len({record["id"] for record in records}) == 25


def test_writing_the_same_prompts_again_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    assert write_prompts(path, 10, seed=3)
    before = path.stat()
    assert not write_prompts(path, 10, seed=3)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_prompts(path, 11, seed=3)
    assert {entry.name for entry in tmp_path.iterdir()} == {"prompts.jsonl", file_mark(path).name}


@pytest.mark.parametrize("count", [2, 3])
def test_a_prompt_file_that_no_recipe_made_is_refused_and_left_alone(tmp_path: Path, count: int) -> None:
    path = tmp_path / "mine.jsonl"
    mine = '{"id": "1", "problem": "1+1", "answer": "2", "source": "areal_mesh.recipes.arithmetic"}\n'
    path.write_text(mine)
    with pytest.raises(NotMadeHere, match=rf"{path}: no recipe made it.*model\.recipe=none"):
        write_prompts(path, count, seed=3)
    assert path.read_text() == mine


def test_a_prompt_file_that_was_edited_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    write_prompts(path, 2, seed=3)
    edited = path.read_text() + '{"id": "mine", "problem": "1+1", "answer": "2"}\n'
    path.write_text(edited)
    with pytest.raises(NotMadeHere, match=r"prompts\.jsonl is not as a recipe left it"):
        write_prompts(path, 2, seed=3)
    assert path.read_text() == edited


def test_a_crash_while_prompts_are_replaced_leaves_a_file_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prompts.jsonl"
    write_prompts(path, 2, seed=3)
    replace = Path.replace

    def dies(source: Path, target: Path) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        write_prompts(path, 5, seed=3)
    monkeypatch.undo()
    assert len(path.read_text().splitlines()) == 2
    assert write_prompts(path, 5, seed=3)
    assert len(path.read_text().splitlines()) == 5


def test_a_prompt_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count is 0"):
        write_prompts(tmp_path / "prompts.jsonl", 0, seed=3)
