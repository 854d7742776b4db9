"""Settings of the filters before the replay buffer, one model each, chosen by `type`; `generator/filters/` has them.

A filter leaves out whole groups, so it bends what is trained on: each drop is counted with its reason and its length.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from areal_mesh.runtime.settings.base import Settings, Share


class EqualVerdictsFilterSettings(Settings):
    """Groups whose responses are all right, or all wrong, and have nothing to compare (DAPO's dynamic sampling)."""

    type: Literal["equal_verdicts"] = "equal_verdicts"
    correct: bool = True
    """Whether groups that are all right are left out."""
    incorrect: bool = True
    """Whether groups that are all wrong are left out."""

    @model_validator(mode="after")
    def _leaves_something_out(self) -> Self:
        if not (self.correct or self.incorrect):
            raise ValueError("correct = false with incorrect = false leaves nothing out; take the filter out")
        return self


class PassRateFilterSettings(Settings):
    """Groups whose share of right responses is outside a range: too hard, or too easy."""

    type: Literal["pass_rate"] = "pass_rate"
    at_least: Share = 0.0
    """Lowest share of right responses that a group may have."""
    at_most: Share = 1.0
    """Highest share of right responses that a group may have."""

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least = {self.at_least} is more than at_most = {self.at_most}; lower it")
        return self


class TruncatedFilterSettings(Settings):
    """Groups of which too large a share was cut off by the response limit."""

    type: Literal["truncated"] = "truncated"
    at_most: Share
    """Highest share of responses that the limit may have cut off."""


def _named(value: Any) -> Any:
    """A word alone names a filter with its defaults."""
    if not isinstance(value, list):
        return [{"type": value}] if isinstance(value, str) else value
    return [{"type": entry} if isinstance(entry, str) else entry for entry in value]


FilterSettings = Annotated[
    EqualVerdictsFilterSettings | PassRateFilterSettings | TruncatedFilterSettings, Field(discriminator="type")
]
FilterList = Annotated[list[FilterSettings], BeforeValidator(_named)]
"""Applied in this order; the first that leaves a group out gives the reason."""
