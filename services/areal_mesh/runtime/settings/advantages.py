"""Settings of the advantage estimates, one model each, chosen by `type`; `learner/advantages/` computes them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from areal_mesh.runtime.settings.base import Settings


class ArealAdvantageSettings(Settings):
    """Returns to go, a KL reward in them, normalised over the batch (AReaL v0.1)."""

    compares_a_group: ClassVar[bool] = False
    type: Literal["areal"] = "areal"
    kl_coefficient: float = Field(default=0.001, ge=0)
    """Reward per token for staying near the reference; 0 needs no reference model and no reference pass."""


class GrpoAdvantageSettings(Settings):
    """The reward less the mean of its group, over the group's standard deviation (GRPO). No reference model."""

    compares_a_group: ClassVar[bool] = True
    type: Literal["grpo"] = "grpo"
    divide_by_deviation: bool = True
    """False leaves the difference from the mean alone, as Dr. GRPO does."""


AdvantageSettings = Annotated[ArealAdvantageSettings | GrpoAdvantageSettings, Field(discriminator="type")]
"""Each says whether it compares the responses of a group: then it needs at least two."""
