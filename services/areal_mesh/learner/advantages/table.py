"""Every advantage estimate, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

from areal_mesh.learner.advantages.areal import ArealAdvantage
from areal_mesh.learner.advantages.dr_grpo import DrGrpoAdvantage
from areal_mesh.learner.advantages.grpo import GrpoAdvantage
from areal_mesh.learner.advantages.inputs import Advantage
from areal_mesh.learner.advantages.reinforce_plus_plus import ReinforcePlusPlus
from areal_mesh.learner.advantages.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from areal_mesh.learner.advantages.rloo import RlooAdvantage
from areal_mesh.runtime.settings.advantages import AdvantageSettings

ADVANTAGES: Mapping[str, Callable[[Any], Advantage]] = {
    "areal": ArealAdvantage,
    "grpo": GrpoAdvantage,
    "dr_grpo": DrGrpoAdvantage,
    "rloo": RlooAdvantage,
    "reinforce_plus_plus": ReinforcePlusPlus,
    "reinforce_plus_plus_baseline": ReinforcePlusPlusBaseline,
}


def build_advantage(settings: AdvantageSettings) -> Advantage:
    """The estimate that the settings name."""
    return ADVANTAGES[settings.type](settings)
