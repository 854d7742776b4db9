"""Groups all right or all wrong are left out: dynamic sampling (DAPO, arXiv 2503.14476, section 3.2)."""

from dataclasses import dataclass

from areal_mesh.generator.filters.inputs import GradedGroup
from areal_mesh.runtime.settings.filters import EqualVerdictsFilterSettings


@dataclass(frozen=True)
class EqualVerdicts:
    """Of such a group a group estimate has no advantage, and one over the batch that of its prompt alone."""

    settings: EqualVerdictsFilterSettings

    def __call__(self, group: GradedGroup) -> str:
        if self.settings.correct and all(group.correct):
            return "all correct"
        if self.settings.incorrect and not any(group.correct):
            return "all incorrect"
        return ""
