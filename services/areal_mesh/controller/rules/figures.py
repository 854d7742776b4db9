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
    length_share: float = 0.0
    """Mean response length, of the stage's limit."""

    @classmethod
    def of(cls, metrics: Mapping[str, float], limit: int) -> "StepFigures":
        """Out of the step's metrics; 0 for one that is missing. `limit`: the stage's `max_response_tokens`."""
        return cls(
            reward=metrics.get("reward", 0.0),
            truncated=metrics.get("truncated", 0.0),
            epoch_share=metrics.get("epoch_share", 0.0),
            length_share=metrics.get("response_length", 0.0) / limit,
        )


def window(figures: Sequence[StepFigures], steps: int, back: int = 0) -> Sequence[StepFigures] | None:
    """The last `steps` of the figures (oldest first), or those `back` windows before; None where there are fewer."""
    end = len(figures) - back * steps
    return figures[end - steps : end] if end >= steps else None
