"""Settings of the schedule: context stages, and the rules that may end one."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from areal_mesh.runtime.settings.base import Settings, Share


class TruncatedAboveSettings(Settings):
    """The stage ends when the mean truncated share is above this: the limit is too short."""

    type: Literal["truncated_above"] = "truncated_above"
    share: Share
    """Of responses that the limit cut off."""
    window: int = Field(default=10, gt=0)
    """Steps that the mean is over."""


class TruncatedBelowSettings(Settings):
    """The stage ends when the mean truncated share is below this: responses fit, and more context changes nothing."""

    type: Literal["truncated_below"] = "truncated_below"
    share: Share
    """Of responses that the limit cut off."""
    window: int = Field(default=10, gt=0)
    """Steps that the mean is over."""


class RewardGainBelowSettings(Settings):
    """The stage ends when the mean reward is less than this above that of as many steps before."""

    type: Literal["reward_gain_below"] = "reward_gain_below"
    gain: float
    """The least by which the mean has to rise."""
    window: int = Field(default=10, gt=0)
    """Steps that each of the two means is over."""


RuleSettings = Annotated[
    TruncatedAboveSettings | TruncatedBelowSettings | RewardGainBelowSettings, Field(discriminator="type")
]


class StageSettings(Settings):
    """One context stage: it ends after `max_steps`, or by the first rule that says so once `min_steps` are done."""

    name: str = Field(min_length=1)
    """As it stands in tables and plots; its own in the schedule."""
    max_response_tokens: int = Field(gt=0)
    """Response limit of groups leased in this stage."""
    max_steps: int = Field(gt=0)
    """Steps of the stage at most."""
    min_steps: int = Field(default=0, ge=0)
    """No rule ends the stage before this many steps."""
    rules: list[RuleSettings] = []
    """Without one `max_steps` alone decides."""
    restart_optimizer: bool = True
    """Whether AdamW's moments and the warm-up start anew when the stage is entered."""
    restart_reference: bool = True
    """Whether the KL reference becomes the policy of that moment when the stage is entered."""

    @model_validator(mode="after")
    def _steps_agree(self) -> Self:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps = {self.min_steps} is more than max_steps = {self.max_steps}; lower it")
        return self
