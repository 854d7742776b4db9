"""Groups that are too hard or too easy by their share of right responses are left out."""

from dataclasses import dataclass

from areal_mesh.generator.filters.inputs import GradedGroup
from areal_mesh.runtime.settings.filters import PassRateFilterSettings


@dataclass(frozen=True)
class PassRate:
    """Both bounds belong to the range that stays."""

    settings: PassRateFilterSettings

    def __call__(self, group: GradedGroup) -> str:
        if group.pass_rate < self.settings.at_least:
            return "too few correct"
        if group.pass_rate > self.settings.at_most:
            return "too many correct"
        return ""
