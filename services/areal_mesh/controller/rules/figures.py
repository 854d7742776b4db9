"""What the rules look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepFigures:
    """A step: mean reward, and share of responses that the limit cut off (0 to 1)."""

    reward: float
    truncated: float

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> "StepFigures":
        """Out of the step's metrics; 0 for one that is missing."""
        return cls(metrics.get("reward", 0.0), metrics.get("truncated", 0.0))


def window(figures: Sequence[StepFigures], steps: int, back: int = 0) -> Sequence[StepFigures] | None:
    """The last `steps` of the figures (oldest first), or those `back` windows before; None where there are fewer."""
    end = len(figures) - back * steps
    return figures[end - steps : end] if end >= steps else None
