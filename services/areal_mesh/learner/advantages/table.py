"""Every advantage estimate, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

from areal_mesh.learner.advantages.areal import ArealAdvantage
from areal_mesh.learner.advantages.grpo import GrpoAdvantage
from areal_mesh.learner.advantages.inputs import Advantage
from areal_mesh.runtime.settings.advantages import AdvantageSettings

ADVANTAGES: Mapping[str, Callable[[Any], Advantage]] = {
    "areal": ArealAdvantage,
    "grpo": GrpoAdvantage,
}


def build_advantage(settings: AdvantageSettings) -> Advantage:
    """The estimate that the settings name."""
    return ADVANTAGES[settings.type](settings)
