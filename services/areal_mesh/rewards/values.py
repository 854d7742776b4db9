"""What a reward is asked, and how it fails. Importable without anything beyond the standard library."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Group:
    """The responses to one prompt, as a reward sees them; lists in the order of the responses."""

    problem: str
    references: list[str]
    source: str
    responses: list[str]
    verdicts: list[str]
    """`correct` or `incorrect`."""
    finish_reasons: list[str]
    """`stop` or `length`; empty where nobody said it."""
    tokens: list[int]
    """Output tokens of each response; 0 where nobody counted them."""

    def as_message(self) -> dict[str, Any]:
        """As it travels, in JSON."""
        return asdict(self)


SHARED = ("problem", "references", "source")
"""What all responses of a group have in common, by the names of `Group`."""
EACH = {"response": "responses", "verdict": "verdicts", "finish_reason": "finish_reasons", "tokens": "tokens"}
"""What each response has, by the argument's name, and the name of the list over a group."""


class RewardUnusable(Exception):
    """The function cannot be loaded, or not be called with what there is; the message says where and why."""


class RewardFailed(Exception):
    """A call gave no rewards: it raised, was late, or returned something else than numbers."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause
        """Short and the same for the same fault: file, line and kind of the exception."""
