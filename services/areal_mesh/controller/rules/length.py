"""A rule on the response length: it fills the limit."""

from collections.abc import Sequence
from statistics import fmean

from areal_mesh.controller.rules.figures import StepFigures, window
from areal_mesh.runtime.settings.stages import LengthShareSettings


def length_share(rule: LengthShareSettings, figures: Sequence[StepFigures], steps: int) -> str | None:
    """Why the stage ends; None while responses are short enough."""
    last = window(figures, rule.window)
    if last is None:
        return None
    share = fmean(step.length_share for step in last)
    if share <= rule.share:
        return None
    return f"mean length {share:.3f} of the limit over {rule.window} steps is above {rule.share}"
