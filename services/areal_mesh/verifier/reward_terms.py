"""Reward terms that come with the verifier; each is a factory named by an entry point."""

from __future__ import annotations

from collections.abc import Sequence

from areal_mesh.grading.extraction import extract_answer
from areal_mesh.verifier.rewards import GradedResponse, RewardTerm


def length_penalty(*, free_tokens: int, penalty_per_1000: float, only_correct: bool = True) -> RewardTerm:
    """Takes `penalty_per_1000` for every 1,000 output tokens beyond `free_tokens`.

    Args:
        only_correct: leave incorrect responses alone, so that a short wrong answer gains nothing over a long one.

    Raises:
        ValueError: if a bound is negative; when called, if a response has no token count.
    """
    if free_tokens < 0 or penalty_per_1000 < 0:
        raise ValueError("free_tokens and penalty_per_1000 are zero or more")

    def term(responses: Sequence[GradedResponse]) -> list[float]:
        return [_penalty(response) for response in responses]

    def _penalty(response: GradedResponse) -> float:
        if only_correct and response.status != "correct":
            return 0.0
        if response.token_count is None:
            raise ValueError("length_penalty needs token_count: the caller of the verifier has to send it")
        return -penalty_per_1000 * max(0, response.token_count - free_tokens) / 1000

    return term


def format_check(*, penalty: float, opening: str = "", closing: str = "") -> RewardTerm:
    """Takes `penalty` from a response that states no answer, or lacks a part that its template asks for.

    Args:
        opening: text that the response has to hold, such as `<think>`; empty for none.
        closing: text that has to follow the opening, such as `</think>`.
    """

    def term(responses: Sequence[GradedResponse]) -> list[float]:
        return [0.0 if _well_formed(response.response) else -penalty for response in responses]

    def _well_formed(response: str) -> bool:
        start = response.find(opening)
        ends = start >= 0 and response.find(closing, start + len(opening)) >= 0
        return ends and bool(extract_answer(response))

    return term
