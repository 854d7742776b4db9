"""Every rule, by the `type` of its settings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from areal_mesh.controller.rules.counts import epochs_done, steps_done
from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.controller.rules.length import length_share
from areal_mesh.controller.rules.reward_gain import reward_gain_below
from areal_mesh.controller.rules.truncation import truncated_above, truncated_below
from areal_mesh.runtime.settings.stages import RuleSettings

RULES: Mapping[str, Callable[[Any, Sequence[StepFigures], int], str | None]] = {
    "truncated_above": truncated_above,
    "truncated_below": truncated_below,
    "reward_gain_below": reward_gain_below,
    "length_share": length_share,
    "steps": steps_done,
    "epochs": epochs_done,
}
MOST_WINDOWS = 2
"""Windows that any rule looks at."""


def apply_rule(rule: RuleSettings, figures: Sequence[StepFigures], steps: int) -> str | None:
    """Why the stage ends by the rule; None while it goes on.

    Args:
        figures: of the stage's last steps, oldest first.
        steps: that the stage has had.
    """
    return RULES[rule.type](rule, figures, steps)
