"""Settings of the policy losses, one model each, chosen by `type`; `learner/losses/` computes them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from areal_mesh.runtime.settings.base import Settings


class PpoSettings(Settings):
    """Clipped PPO against the behaviour policy: for synchronous runs."""

    fits_stale_rollouts: ClassVar[bool] = False
    type: Literal["ppo"] = "ppo"
    clip: float = Field(default=0.2, gt=0, lt=1)
    """The ratio pi / pi_behav gives no gradient beyond 1 +- this."""


class DecoupledPpoSettings(Settings):
    """Clipped PPO round the proximal policy, weighted by pi_prox / pi_behav: for stale rollouts."""

    fits_stale_rollouts: ClassVar[bool] = True
    type: Literal["decoupled_ppo"] = "decoupled_ppo"
    clip: float = Field(default=0.2, gt=0, lt=1)
    """The ratio pi / pi_prox gives no gradient beyond 1 +- this."""
    behaviour_weight_cap: float | None = Field(default=None, gt=0)
    """Tokens whose pi_prox / pi_behav is over this are masked; none are where it is left out."""


class CispoSettings(Settings):
    """Clipped importance weights on the policy gradient: every token keeps its gradient; for stale rollouts."""

    fits_stale_rollouts: ClassVar[bool] = True
    type: Literal["cispo"] = "cispo"
    weight_cap: float = Field(default=5.0, gt=1)
    """The weight pi / pi_behav of a token is cut to this."""


LossSettings = Annotated[PpoSettings | DecoupledPpoSettings | CispoSettings, Field(discriminator="type")]
"""Each says whether it fits stale rollouts: whether it corrects for the distance between the behaviour policy and the
one before the step."""
