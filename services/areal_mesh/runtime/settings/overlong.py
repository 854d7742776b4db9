"""Settings of what becomes of overlong responses, one model each, chosen by `type`; `learner/overlong/` does it."""

from typing import Annotated, Literal

from pydantic import Field

from areal_mesh.runtime.settings.base import Settings


class OverlongPenaltySettings(Settings):
    """A penalty that grows over the last stretch before the response limit (DAPO's soft overlong punishment)."""

    type: Literal["penalty"] = "penalty"
    buffer_share: float = Field(default=0.2, gt=0, le=1)
    """Share of the response limit over which the penalty grows from 0 to the whole; DAPO: 4096 of 20480 tokens."""
    penalty: float = Field(default=1.0, gt=0)
    """Of a response as long as the limit, in units of `algorithm.reward_scale`: 1 is half of right against wrong."""


class OverlongMaskSettings(Settings):
    """Truncated responses are not trained on (DAPO's overlong filtering); their rewards count for their group."""

    type: Literal["mask"] = "mask"


OverlongSettings = Annotated[OverlongPenaltySettings | OverlongMaskSettings, Field(discriminator="type")]
