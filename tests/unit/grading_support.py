"""Grading in this process, SymPy included: what a test asks is the verdict, not how a worker comes by it."""

from areal_mesh.grading.grade import grade
from areal_mesh.grading.symbolic.decide import DECIDERS
from areal_mesh.grading.verdict import GradeRequest, Protocol, Verdict


def graded(response: str, gold: str, *, protocol: Protocol = "qwen", last_number: bool = False) -> Verdict:
    verdict = grade(GradeRequest(response, (gold,), protocol, last_number), DECIDERS[protocol])
    assert verdict is not None, "algebra leaves nothing undecided"
    return verdict
