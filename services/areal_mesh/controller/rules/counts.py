"""Rules on how much the stage has trained on: steps, and epochs of the prompts."""

from collections.abc import Sequence

from areal_mesh.controller.rules.figures import StepFigures
from areal_mesh.runtime.settings.stages import EpochsSettings, StepsSettings


def steps_done(rule: StepsSettings, figures: Sequence[StepFigures], steps: int) -> str | None:
    """Why the stage ends; None before so many of its steps."""
    return f"{steps} steps" if steps >= rule.steps else None


def epochs_done(rule: EpochsSettings, figures: Sequence[StepFigures], steps: int) -> str | None:
    """Why the stage ends; None before so many epochs, each step being as large a share of one as the last."""
    epochs = steps * figures[-1].epoch_share if figures else 0.0
    return f"{epochs:.2f} epochs" if epochs >= rule.epochs else None
