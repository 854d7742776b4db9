"""A penalty near the response limit: DAPO's soft overlong punishment (Yu et al. 2025, equation 13).

    b = buffer_share * limit
    reward += 0                                      for a response of at most limit - b tokens
    reward += -penalty * (length - (limit - b)) / b  beyond: -penalty at the limit

In units of `algorithm.reward_scale`, as DAPO's rewards are 1 and -1.
"""

from dataclasses import dataclass

import torch

from areal_mesh.learner.overlong.inputs import OverlongInputs, OverlongOutputs
from areal_mesh.runtime.settings.overlong import OverlongPenaltySettings


@dataclass(frozen=True)
class OverlongPenalty:
    """DAPO's penalty. Its figure: `overlong_penalty`, the mean over responses, in the same units."""

    settings: OverlongPenaltySettings

    def __call__(self, inputs: OverlongInputs) -> OverlongOutputs:
        """See `Overlong`."""
        limits = inputs.response_limits.double()
        buffers = self.settings.buffer_share * limits
        over = (inputs.response_lengths.double() - (limits - buffers)) / buffers
        rewards = -self.settings.penalty * over.clamp(0.0, 1.0)
        trained = torch.ones_like(inputs.truncated)
        return OverlongOutputs(rewards, trained, {"overlong_penalty": float(rewards.mean())})
