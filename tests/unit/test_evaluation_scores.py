"""The figures of a suite and their tables, on plain samples."""

import math
import random

import pytest

from areal_mesh.evaluation.published import PUBLISHED
from areal_mesh.evaluation.scores import GradedSample, score_suite
from areal_mesh.evaluation.tables import comparison_table, markdown, results_table


def graded(
    problem: str, correct: bool | None, tokens: int = 10, truncated: bool = False, answer: str = ""
) -> GradedSample:
    return GradedSample(problem, correct, answer or ("right" if correct else "wrong"), tokens, truncated)


def test_the_figures_agree_with_an_independent_computation() -> None:
    generator = random.Random(11)
    outcomes = {f"p-{n}": [generator.random() < n / 40 for _ in range(8)] for n in range(40)}
    samples = [graded(problem, right, 5, not right) for problem, rights in outcomes.items() for right in rights]
    generator.shuffle(samples)
    score = score_suite(samples)
    assert (score.problems, score.samples) == (40, 8)
    assert score.pass_at_1 == pytest.approx(sum(map(sum, outcomes.values())) / 320)
    for k in (1, 2, 4, 8):
        expected = [1 - math.comb(8 - sum(rights), k) / math.comb(8, k) for rights in outcomes.values()]
        assert score.pass_at_k[k] == pytest.approx(sum(expected) / 40)
    votes = [1.0 if sum(rights) > 4 else 0.5 if sum(rights) == 4 else 0.0 for rights in outcomes.values()]
    assert score.majority == pytest.approx(sum(votes) / 40)
    assert score.low < score.pass_at_1 < score.high
    assert score.truncated == pytest.approx(1 - score.pass_at_1)
    assert score.response_length == 5


def test_what_could_not_be_graded_is_neither_right_nor_wrong() -> None:
    score = score_suite([graded("a", True), graded("a", None), graded("b", False), graded("b", False)])
    assert (score.pass_at_1, score.ungraded, score.problems) == (0.5, 1, 2)
    assert set(score.pass_at_k) == {1}


def test_a_problem_that_was_refused_is_not_solved_and_has_no_length() -> None:
    refused = GradedSample("b", False, "", 0, False, refused=True)
    score = score_suite([graded("a", True, tokens=20), refused])
    assert (score.pass_at_1, score.refused, score.response_length) == (0.5, 1, 20.0)
    assert "1 of 2 problems could not be put to the model" in results_table({"base": {"sums": score}})


def test_nothing_graded_is_no_score() -> None:
    with pytest.raises(ValueError, match="no sample"):
        score_suite([graded("a", None)])


def test_published_rows_stand_beside_ones_own_with_their_source() -> None:
    score = score_suite([graded("a", True), graded("b", False)])
    table = comparison_table({"mine": {"math500": score, "own": score}}, PUBLISHED["release-note"])
    assert "| mine | 50.0 | 50.0 | here |\n" in table
    assert "| AReaL stage 3: 24K | 88.0 | - | AReaL v0.1 release note, table 1 |\n" in table
    assert "| Qwen2.5-7B-Zero, step 200 | 78.0 | - | AReaL v0.1 release note, table 2 |\n" in table


def test_a_bar_does_not_break_a_table() -> None:
    assert markdown(["a"], [["|x|"]]).splitlines()[-1] == "| \\|x\\| |"
