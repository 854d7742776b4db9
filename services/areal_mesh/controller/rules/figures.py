"""What the rules look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepFigures:
    """A step."""

    reward: float
    """Mean."""
    truncated: float
    """Share of responses that the limit cut off, 0 to 1."""
    epoch_share: float = 0.0
    """Of the prompts, that its batch has groups of."""

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> "StepFigures":
        """Out of the step's metrics; 0 for one that is missing."""
        return cls(metrics.get("reward", 0.0), metrics.get("truncated", 0.0), metrics.get("epoch_share", 0.0))


def window(figures: Sequence[StepFigures], steps: int, back: int = 0) -> Sequence[StepFigures] | None:
    """The last `steps` of the figures (oldest first), or those `back` windows before; None where there are fewer."""
    end = len(figures) - back * steps
    return figures[end - steps : end] if end >= steps else None
