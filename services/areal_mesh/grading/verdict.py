"""Vocabulary of grading: what is asked, what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from areal_mesh.grading import limits

Status: TypeAlias = Literal["correct", "incorrect", "error"]
Protocol: TypeAlias = Literal["qwen", "strict_qwen"]

PROTOCOLS: tuple[Protocol, ...] = ("qwen", "strict_qwen")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of grading one response."""

    status: Status
    """`error` means that the grader failed, never that the answer is wrong."""
    extracted: str | None
    """The answer found in the response, as written; None where there is none."""
    normalised: str | None
    """The extracted answer in its canonical spelling; None where nothing was extracted."""
    rule: str
    """The rule that decided, such as `text`, `rational`, `interval` (docs/grading.md lists them)."""

    @property
    def correct(self) -> bool:
        return self.status == "correct"


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """One response to grade."""

    response: str
    """The model's whole response, any length."""
    golds: tuple[str, ...]
    """Reference answers, 100 at most; matching any one of them is enough."""
    protocol: Protocol = "qwen"
    last_number: bool = False
    """Fall back to the last number of a response that states no answer."""

    def __post_init__(self) -> None:
        if len(self.golds) > limits.REFERENCES:
            raise ValueError(f"{len(self.golds)} reference answers: give at most {limits.REFERENCES}")


def gold_answers(gold: str | Sequence[str]) -> tuple[str, ...]:
    """One gold answer or several, as a tuple.

    Raises:
        ValueError: if there is none.
    """
    golds = (gold,) if isinstance(gold, str) else tuple(gold)
    if not golds:
        raise ValueError("gold is empty: give at least one reference answer")
    return golds
