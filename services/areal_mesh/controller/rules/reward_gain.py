"""A rule on the reward: it has stopped rising."""

from collections.abc import Sequence
from statistics import fmean

from areal_mesh.controller.rules.figures import StepFigures, window
from areal_mesh.runtime.settings.stages import RewardGainBelowSettings


def reward_gain_below(rule: RewardGainBelowSettings, figures: Sequence[StepFigures], steps: int) -> str | None:
    """Why the stage ends; None while the mean reward of a window is far enough above that of the window before."""
    last, before = window(figures, rule.window), window(figures, rule.window, back=1)
    if last is None or before is None:
        return None
    gain = fmean(step.reward for step in last) - fmean(step.reward for step in before)
    if gain >= rule.gain:
        return None
    return f"reward gain {gain:.3f} over {rule.window} steps is below {rule.gain}"
