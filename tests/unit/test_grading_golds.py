"""The reference answers of the public data sets parse."""

import json
from pathlib import Path

import pytest

from areal_mesh.grading.grade import grade
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
