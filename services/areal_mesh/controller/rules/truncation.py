"""Rules on the truncated share: the limit is too short, or long enough."""

from collections.abc import Sequence
from statistics import fmean

from areal_mesh.controller.rules.figures import StepFigures, window
from areal_mesh.runtime.settings.stages import TruncatedAboveSettings, TruncatedBelowSettings


def truncated_above(rule: TruncatedAboveSettings, figures: Sequence[StepFigures], steps: int) -> str | None:
    """Why the stage ends; None while the share is low enough."""
    share = _share(figures, rule.window)
    if share is None or share <= rule.share:
        return None
    return f"truncated share {share:.3f} over {rule.window} steps is above {rule.share}"


def truncated_below(rule: TruncatedBelowSettings, figures: Sequence[StepFigures], steps: int) -> str | None:
    """Why the stage ends; None while the share is high enough."""
    share = _share(figures, rule.window)
    if share is None or share >= rule.share:
        return None
    return f"truncated share {share:.3f} over {rule.window} steps is below {rule.share}"


def _share(figures: Sequence[StepFigures], steps: int) -> float | None:
    last = window(figures, steps)
    return None if last is None else fmean(step.truncated for step in last)
