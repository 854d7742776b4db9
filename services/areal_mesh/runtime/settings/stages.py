"""Settings of the schedule: context stages, and the rules that may end one."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from areal_mesh.runtime.settings.base import Settings, Share
from areal_mesh.runtime.settings.stage_overrides import Overrides


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


class LengthShareSettings(Settings):
    """The stage ends when the mean response length is above this share of its limit: responses fill it."""

    type: Literal["length_share"] = "length_share"
    share: Share = 0.9
    """Of the stage's `max_response_tokens`."""
    window: int = Field(default=10, gt=0)
    """Steps that the mean is over."""


class StepsSettings(Settings):
    """The stage ends after so many of its steps: beside other rules, all of which have to agree."""

    window: ClassVar[int] = 1
    type: Literal["steps"] = "steps"
    steps: int = Field(gt=0)
    """Steps of the stage."""


class EpochsSettings(Settings):
    """The stage ends once it was trained on as many groups as so many epochs of the prompts have."""

    window: ClassVar[int] = 1
    type: Literal["epochs"] = "epochs"
    epochs: float = Field(gt=0)
    """Epochs of the prompts; a part of one as well."""


RuleSettings = Annotated[
    TruncatedAboveSettings
    | TruncatedBelowSettings
    | RewardGainBelowSettings
    | LengthShareSettings
    | StepsSettings
    | EpochsSettings,
    Field(discriminator="type"),
]
"""Each says over how many steps it looks at a time, its `window`."""


class StageSettings(Settings):
    """One context stage: it ends after `max_steps`, or by its rules once `min_steps` are done."""

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
    ends_by: Literal["any", "all"] = "any"
    """Whether the first rule that says so ends the stage, or all of them at the same step."""
    restart_optimizer: bool = True
    """Whether AdamW's moments and the warm-up start anew when the stage is entered."""
    restart_reference: bool = True
    """Whether the KL reference becomes the policy of that moment when the stage is entered."""
    learner: Overrides = {}
    """Settings of `[learner]` that are others in this stage, such as `{ max_tokens_per_micro_batch = 11264 }`."""
    sampling: Overrides = {}
    """Sampling that is another in this stage: `{ temperature = 0.8 }`. Only with `algorithm.max_staleness = 0`, for a
    batch is trained at one temperature."""

    @model_validator(mode="after")
    def _steps_agree(self) -> Self:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps = {self.min_steps} is more than max_steps = {self.max_steps}; lower it")
        return self
