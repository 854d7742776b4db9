"""The published suites, where somebody has them: $AREAL_MESH_DATA names their folder."""

import os
from pathlib import Path

import pytest

from areal_mesh.evaluation.requests import sample_requests
from areal_mesh.evaluation.suites import read_suites
from areal_mesh.grading import answer_matches

FOLDER = os.environ.get("AREAL_MESH_DATA", "")
needs_data = pytest.mark.skipif(not FOLDER, reason="AREAL_MESH_DATA names no folder with math500, aime24 and amc23")


@needs_data
def test_the_suites_of_the_release_note_are_read_whole_and_asked_32_times() -> None:
    suites = read_suites(["math500", "aime24", "amc23"], Path(FOLDER))
    assert [len(suite.problems) for suite in suites] == [500, 30, 40]
    asked = list(sample_requests("base", suites, 32, seed=1))
    assert len({request.key for request in asked}) == len({request.seed for request in asked}) == 570 * 32


@needs_data
def test_an_answer_that_is_the_reference_counts_in_every_suite() -> None:
    for suite in read_suites(["aime24", "amc23"], Path(FOLDER), limit=10):
        for problem in suite.problems:
            assert answer_matches(f"\\boxed{{{problem.gold_answers[0]}}}", problem.gold_answers).correct, problem
