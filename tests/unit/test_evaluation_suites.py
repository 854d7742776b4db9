"""The published suites, where they lie beside the tree."""

from pathlib import Path

import pytest

from areal_mesh.evaluation.requests import sample_requests
from areal_mesh.evaluation.suites import read_suites
from areal_mesh.grading import answer_matches

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "math500.jsonl").is_file(), reason=f"{DATA} is absent: put math500, aime24 and amc23 there"
)


@needs_data
def test_the_suites_of_the_release_note_are_read_whole_and_asked_32_times() -> None:
    suites = read_suites(["math500", "aime24", "amc23"], DATA)
    assert [len(suite.problems) for suite in suites] == [500, 30, 40]
    asked = list(sample_requests("base", suites, 32, seed=1))
    assert len({request.key for request in asked}) == len({request.seed for request in asked}) == 570 * 32


@needs_data
def test_an_answer_that_is_the_reference_counts_in_every_suite() -> None:
    for suite in read_suites(["aime24", "amc23"], DATA, limit=10):
        for problem in suite.problems:
            assert answer_matches(f"\\boxed{{{problem.gold_answers[0]}}}", problem.gold_answers).correct, problem
