"""`answer_matches`: one response judged, by the cheap rules here or by algebra in a worker of this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from areal_mesh.grading.grade import grade, rounded
from areal_mesh.grading.synchronous_pool import shared_pool
from areal_mesh.grading.verdict import GradeRequest, Protocol, Verdict, gold_answers

_ANSWER_SECONDS: Final = 30.0
"""The worker has its own deadline, far below; this one bounds its start too."""


def answer_matches(
    response: str,
    gold: str | Sequence[str],
    *,
    protocol: Protocol = "qwen",
    last_number: bool = False,
    rounded_golds: bool = False,
) -> Verdict:
    """Grade one response: in this process by the cheap rules, in a worker of this process where it takes algebra.

    The worker starts with the first answer that needs it and ends with this process. An answer that is not decided
    before its deadline has the status `error`.

    Args:
        response: the model's whole response.
        gold: the reference answer, or several of which any one may match.
        protocol: `qwen`, or `strict_qwen` to reproduce that protocol's known mistakes too.
        last_number: take the last number of a response that states no answer.
        rounded_golds: take a reference that is a decimal for a rounded one: `66.7` for `\\frac{200}{3}`.

    Raises:
        ValueError: if there is no gold, or the protocol is unknown.
    """
    golds = rounded(gold_answers(gold)) if rounded_golds else gold_answers(gold)
    request = GradeRequest(response, golds, protocol, last_number)
    verdict = grade(request, None)
    if verdict is None:
        verdict = shared_pool().grade_many([request], _ANSWER_SECONDS)[0]
    return verdict
