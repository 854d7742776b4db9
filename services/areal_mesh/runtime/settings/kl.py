"""Settings of the distance to the KL reference; `learner/kl` has its estimators."""

from typing import Literal

from pydantic import Field

from areal_mesh.runtime.settings.base import Settings

KlEstimator = Literal["k1", "k2", "k3"]
"""Of KL(policy || reference) on the policy's own tokens, with d = logp - logp_ref: d, d^2 / 2, exp(-d) - 1 + d."""


class KlLossSettings(Settings):
    """A KL term in the loss. It needs the reference model and its pass."""

    coefficient: float = Field(default=0.001, gt=0)
    """Weight of the term beside the policy loss."""
    estimator: KlEstimator = "k3"
    """k1 is there to compare: on the policy's own tokens its gradient has the mean 0, so that it holds nothing back."""
