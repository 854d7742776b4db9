"""Settings of Muon, beside those of AdamW in `learner`."""

from pydantic import Field

from areal_mesh.runtime.settings.base import Settings


class MuonSettings(Settings):
    """Muon for the weight matrices of the decoder layers, with `learner`'s decay; all else stays AdamW's."""

    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Of the mean of gradients, which is Nesterov's."""
    rate_ratio: float = Field(default=1.0, gt=0, le=100)
    """Its rate, as a multiple of `learner.learning_rate`; at 1 its updates are as long as AdamW's usually are."""
