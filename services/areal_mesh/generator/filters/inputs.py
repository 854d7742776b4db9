"""What a filter sees of a group, and what it answers."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class GradedGroup:
    """The responses of a group once each has its verdict; one value a response."""

    correct: tuple[bool, ...]
    truncated: tuple[bool, ...]
    """Whether the response limit cut it off."""

    @property
    def pass_rate(self) -> float:
        """Share of right responses."""
        return sum(self.correct) / len(self.correct)


class GroupFilter(Protocol):
    """Leaves groups out."""

    def __call__(self, group: GradedGroup) -> str:
        """Why the group is left out, the same words for the same cause; empty where it stays."""
