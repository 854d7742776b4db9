"""Every policy loss, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

from areal_mesh.learner.losses.cispo import Cispo
from areal_mesh.learner.losses.decoupled_ppo import DecoupledPpo
from areal_mesh.learner.losses.dppo import Dppo
from areal_mesh.learner.losses.gspo import Gspo
from areal_mesh.learner.losses.inputs import Loss
from areal_mesh.learner.losses.kl_term import WithKlTerm
from areal_mesh.learner.losses.ppo import Ppo
from areal_mesh.learner.losses.truncated_importance_sampling import TruncatedImportanceSampling
from areal_mesh.runtime.settings.kl import KlLossSettings
from areal_mesh.runtime.settings.losses import LossSettings

LOSSES: Mapping[str, Callable[[Any], Loss]] = {
    "ppo": Ppo,
    "decoupled_ppo": DecoupledPpo,
    "truncated_importance_sampling": TruncatedImportanceSampling,
    "cispo": Cispo,
    "gspo": Gspo,
    "dppo": Dppo,
}


def build_loss(settings: LossSettings, kl_loss: KlLossSettings | None = None) -> Loss:
    """The loss that the settings name, with the KL term if there is one."""
    policy_loss = LOSSES[settings.type](settings)
    return policy_loss if kl_loss is None else WithKlTerm(policy_loss, kl_loss)
