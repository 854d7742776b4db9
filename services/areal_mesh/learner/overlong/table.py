"""Every treatment of overlong responses, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from areal_mesh.learner.overlong.inputs import Overlong, OverlongInputs, OverlongOutputs
from areal_mesh.learner.overlong.mask import OverlongMask
from areal_mesh.learner.overlong.penalty import OverlongPenalty
from areal_mesh.runtime.settings.overlong import OverlongSettings

OVERLONG: Mapping[str, Callable[[Any], Overlong]] = {
    "penalty": OverlongPenalty,
    "mask": OverlongMask,
}


def build_overlong(settings: OverlongSettings | None) -> Overlong:
    """The treatment that the settings name; without one nothing changes."""
    return _as_they_are if settings is None else OVERLONG[settings.type](settings)


def _as_they_are(inputs: OverlongInputs) -> OverlongOutputs:
    count = inputs.truncated.numel()
    return OverlongOutputs(torch.zeros(count, dtype=torch.float64), torch.ones(count, dtype=torch.bool), {})
