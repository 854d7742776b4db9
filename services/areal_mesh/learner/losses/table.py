"""Every policy loss, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

from areal_mesh.learner.losses.cispo import Cispo
from areal_mesh.learner.losses.decoupled_ppo import DecoupledPpo
from areal_mesh.learner.losses.inputs import Loss
from areal_mesh.learner.losses.ppo import Ppo
from areal_mesh.runtime.settings.losses import LossSettings

LOSSES: Mapping[str, Callable[[Any], Loss]] = {
    "ppo": Ppo,
    "decoupled_ppo": DecoupledPpo,
    "cispo": Cispo,
}


def build_loss(settings: LossSettings) -> Loss:
    """The loss that the settings name."""
    return LOSSES[settings.type](settings)
