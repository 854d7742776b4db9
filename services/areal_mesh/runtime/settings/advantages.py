"""Settings of the advantage estimates, one model each, chosen by `type`; `learner/advantages/` computes them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from areal_mesh.runtime.settings.base import Settings
from areal_mesh.runtime.settings.kl import KlEstimator


class WithKlReward(Settings):
    """What an estimate has whose rewards hold the distance to the KL reference."""

    kl_coefficient: float = Field(default=0.001, ge=0)
    """Reward per token for staying near the reference; 0 needs no reference model and no reference pass."""
    kl_estimator: KlEstimator = "k1"
    """How the distance to the KL reference is estimated from the sampled tokens."""


class ArealAdvantageSettings(WithKlReward):
    """Returns to go, a KL reward in them, normalised over the batch (AReaL v0.1)."""

    compares_a_group: ClassVar[bool] = False
    type: Literal["areal"] = "areal"


class GrpoAdvantageSettings(Settings):
    """The reward less the mean of its group, over the group's standard deviation (GRPO). No reference model."""

    compares_a_group: ClassVar[bool] = True
    type: Literal["grpo"] = "grpo"


class DrGrpoAdvantageSettings(Settings):
    """The reward less the mean of its group, and no more (Dr. GRPO). No reference model."""

    compares_a_group: ClassVar[bool] = True
    type: Literal["dr_grpo"] = "dr_grpo"


class RlooAdvantageSettings(WithKlReward):
    """The reward less the mean of the other responses of its group (RLOO)."""

    compares_a_group: ClassVar[bool] = True
    type: Literal["rloo"] = "rloo"


class ReinforcePlusPlusSettings(WithKlReward):
    """Returns to go, a KL reward in them, normalised over the batch (REINFORCE++)."""

    compares_a_group: ClassVar[bool] = False
    type: Literal["reinforce_plus_plus"] = "reinforce_plus_plus"


class ReinforcePlusPlusBaselineSettings(Settings):
    """The reward less the mean of its group, normalised over the batch (REINFORCE++ with baseline)."""

    compares_a_group: ClassVar[bool] = True
    type: Literal["reinforce_plus_plus_baseline"] = "reinforce_plus_plus_baseline"


AdvantageSettings = Annotated[
    ArealAdvantageSettings
    | GrpoAdvantageSettings
    | DrGrpoAdvantageSettings
    | RlooAdvantageSettings
    | ReinforcePlusPlusSettings
    | ReinforcePlusPlusBaselineSettings,
    Field(discriminator="type"),
]
"""Each says whether it compares the responses of a group: then it needs at least two."""
