"""Groups of which the response limit cut off too large a share are left out."""

from dataclasses import dataclass

from areal_mesh.generator.filters.inputs import GradedGroup
from areal_mesh.runtime.settings.filters import TruncatedFilterSettings


@dataclass(frozen=True)
class Truncated:
    """By the engine's finish reasons."""

    settings: TruncatedFilterSettings

    def __call__(self, group: GradedGroup) -> str:
        share = sum(group.truncated) / len(group.truncated)
        return "too many truncated" if share > self.settings.at_most else ""
