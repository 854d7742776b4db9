"""Tokens a second and seconds a step, over the last few steps of one life of the controller. Pure: values in."""

from collections import deque


class Throughput:
    """Totals at the last steps; a life of the controller begins with none, so that no time between two lives counts."""

    STEPS = 5
    """Steps over which it is measured."""

    def __init__(self) -> None:
        self._totals: deque[tuple[float, int, int]] = deque(maxlen=self.STEPS + 1)

    def after_step(self, seconds: float, generated_tokens: int, trained_tokens: int) -> dict[str, float]:
        """The metrics of a step that is committed at `seconds` of a clock, with these totals; none for the first."""
        self._totals.append((seconds, generated_tokens, trained_tokens))
        since, generated, trained = self._totals[0]
        if seconds <= since:
            return {}
        return {
            "generated_tokens_per_second": (generated_tokens - generated) / (seconds - since),
            "trained_tokens_per_second": (trained_tokens - trained) / (seconds - since),
            "step_seconds": (seconds - since) / (len(self._totals) - 1),
        }
