"""Truncated responses are not trained on: DAPO's overlong filtering (Yu et al. 2025, section 3.4).

Their rewards stay what they are and count for their group; their tokens count in no mean, and cost no pass.
"""

from dataclasses import dataclass

import torch

from areal_mesh.learner.overlong.inputs import OverlongInputs, OverlongOutputs
from areal_mesh.runtime.settings.overlong import OverlongMaskSettings


@dataclass(frozen=True)
class OverlongMask:
    """DAPO's mask. Its figure: `overlong_masked`, the share of responses that are not trained on."""

    settings: OverlongMaskSettings

    def __call__(self, inputs: OverlongInputs) -> OverlongOutputs:
        """See `Overlong`."""
        rewards = torch.zeros(inputs.truncated.numel(), dtype=torch.float64)
        figures = {"overlong_masked": float(inputs.truncated.double().mean())}
        return OverlongOutputs(rewards, ~inputs.truncated, figures)
