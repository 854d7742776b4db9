"""What the rules look at."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepFigures:
    """A step: mean reward, and share of responses that the limit cut off (0 to 1)."""

    reward: float
    truncated: float


def window(figures: Sequence[StepFigures], steps: int, back: int = 0) -> Sequence[StepFigures] | None:
    """The last `steps` of the figures (oldest first), or those `back` windows before; None where there are fewer."""
    end = len(figures) - back * steps
    return figures[end - steps : end] if end >= steps else None
