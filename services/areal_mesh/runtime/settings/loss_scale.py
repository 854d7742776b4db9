"""Settings of the dynamic loss scale of float16."""

from typing import Self

from pydantic import Field, model_validator

from areal_mesh.runtime.settings.base import Settings

LARGEST_SCALE = 2.0**64
"""No scale grows beyond it: a loss times as much still has room in float32, were gradients zero for ever."""


class LossScaleSettings(Settings):
    """What the loss is multiplied by under `model.dtype = "float16"`, whose smallest gradients would else be lost.

    The defaults are those of AReaL v0.1.1's `OptimizerConfig`, and Megatron's factors.
    """

    initial: float = Field(default=2.0**32, gt=0, le=LARGEST_SCALE)
    """The scale of the first update, and of the first after the optimizer was restarted."""
    minimum: float = Field(default=1.0, gt=0, le=LARGEST_SCALE)
    """The scale falls no lower; gradients that overflow even there end the run."""
    growth_interval: int = Field(default=5, gt=0)
    """Updates in a row without an overflow after which the scale grows."""
    growth_factor: float = Field(default=2.0, gt=1, le=2.0**16)
    """By which it grows."""
    backoff_factor: float = Field(default=0.5, gt=0, lt=1)
    """By which it falls where gradients overflow."""
    hysteresis: int = Field(default=2, gt=0)
    """The overflow since the scale last grew at which it falls, and at each one after that; those before it are
    skipped alone. 1: at the first."""

    @model_validator(mode="after")
    def _begins_in_its_range(self) -> Self:
        if self.initial < self.minimum:
            raise ValueError(f"initial = {self.initial:g} is under minimum = {self.minimum:g}; raise it, or lower that")
        return self
