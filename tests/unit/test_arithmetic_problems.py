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
    assert [entry.name for entry in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_a_prompt_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count is 0"):
        write_prompts(tmp_path / "prompts.jsonl", 0, seed=3)
