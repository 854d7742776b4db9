"""When a service counts as stalled. Pure.

Invariants:
- a stall is told once, and again only after progress;
- before the pace of the run is known, a step is taken for `least_seconds` long.
"""

from dataclasses import dataclass


@dataclass
class StallDetector:
    """Decides at each look.

    Args:
        steps: times the median step without progress that are a stall; 0: never.
        least_seconds: shorter than this is none, however fast steps are.
    """

    steps: float
    least_seconds: float
    told: bool = False

    def look(self, silent_seconds: float, step_seconds: float | None) -> bool:
        """Whether to tell of a stall now.

        Args:
            silent_seconds: since the service last got something done.
            step_seconds: median step; None where it is not known.
        """
        stalled = self.steps > 0 and silent_seconds >= self.limit(step_seconds)
        tell = stalled and not self.told
        self.told = stalled
        return tell

    def limit(self, step_seconds: float | None) -> float:
        """Seconds without progress that are a stall."""
        return max(self.least_seconds, self.steps * (self.least_seconds if step_seconds is None else step_seconds))
