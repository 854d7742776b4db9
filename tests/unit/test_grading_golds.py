"""The reference answers of the public data sets parse; one is read once for all its responses."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from areal_mesh.grading.answers import Answer
from areal_mesh.grading.grade import gold_answer, grade
from areal_mesh.grading.reading.parser import parse
from areal_mesh.grading.trees.nodes import Unparsed
from areal_mesh.grading.verdict import GradeRequest

DATA = Path(__file__).parents[3] / "shared" / "data"


def golds(name: str) -> list[str]:
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is absent: put the public data sets there to check that their answers parse")
    return [str(json.loads(line)["answer"]) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("math_train", 0.995),
        ("math500", 0.995),
        ("aime24", 1.0),
        ("aime_train", 1.0),
        ("amc23", 1.0),
        ("gsm8k_test", 1.0),
    ],
)
def test_reference_answers_parse(name: str, share: float) -> None:
    answers = golds(name)
    unparsed = []
    for answer in answers:
        try:
            parse(answer)
        except Unparsed as problem:
            unparsed.append(f"{answer!r}: {problem}")

    assert len(unparsed) <= (1 - share) * len(answers), unparsed


@pytest.mark.parametrize("name", ["math_train", "math500", "aime24", "aime_train", "amc23", "gsm8k_test"])
def test_reference_answers_match_themselves_respelled(name: str) -> None:
    missed = []
    for answer in set(golds(name)):
        respelled = answer.replace("\\frac", "\\dfrac").replace("\\ddfrac", "\\dfrac").replace("\\tdfrac", "\\tfrac")
        verdict = grade(GradeRequest(f"\\boxed{{ {respelled} }}", (answer,)), None)
        if verdict is None or not verdict.correct:
            missed.append(answer)

    assert not missed


@pytest.mark.parametrize("reference", [r"\frac{3}{7}", r"so it is \boxed{1,234}", "#### 12", r"\log 100", "may 5"])
def test_a_reference_is_read_once_and_says_the_same_of_every_response(reference: str) -> None:
    answers = (r"\frac37", "1234", "12", "2", "May 5", r"\log(100)", "nonsense", r"\frac{6}{14}")
    first = [grade(GradeRequest(rf"\boxed{{{answer}}}", (reference,)), None) for answer in answers]
    assert gold_answer(reference) is gold_answer(reference)
    assert [grade(GradeRequest(rf"\boxed{{{answer}}}", (reference,)), None) for answer in reversed(answers)] == first[
        ::-1
    ]
    assert sum(bool(verdict and verdict.correct) for verdict in first) >= 1


def test_a_reference_longer_than_others_are_is_not_kept() -> None:
    solution = f"{'It follows. ' * 40}#### 12"
    assert gold_answer(solution) is not gold_answer(solution)
    assert gold_answer(solution).text == "12"


def test_a_reference_that_threads_share_has_all_its_readings_at_once() -> None:
    for round_ in range(50):
        reference = f"{round_},234"
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _, text=reference: len(gold_answer(text).readings()), range(16)))
        assert set(found) == {len(Answer(reference, reference=True).readings())}
