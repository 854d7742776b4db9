"""Every rule, by the `type` of its settings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.controller.rules.reward_gain import reward_gain_below
from areal_mesh.controller.rules.truncation import truncated_above, truncated_below
from areal_mesh.runtime.settings.stages import RuleSettings

RULES: Mapping[str, Callable[[Any, Sequence[StepFigures]], str | None]] = {
    "truncated_above": truncated_above,
    "truncated_below": truncated_below,
    "reward_gain_below": reward_gain_below,
}
MOST_WINDOWS = 2
"""Windows that any rule looks at."""


def apply_rule(rule: RuleSettings, figures: Sequence[StepFigures]) -> str | None:
    """Why the stage ends by the rule; None while it goes on. `figures`: of the stage's last steps, oldest first."""
    return RULES[rule.type](rule, figures)
