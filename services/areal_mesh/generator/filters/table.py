"""The filters by their type, and the chain that a run's settings make of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from areal_mesh.generator.filters.equal_verdicts import EqualVerdicts
from areal_mesh.generator.filters.inputs import GradedGroup, GroupFilter
from areal_mesh.generator.filters.pass_rate import PassRate
from areal_mesh.generator.filters.truncated import Truncated
from areal_mesh.runtime.settings.filters import FilterSettings

FILTERS: Mapping[str, Any] = {"equal_verdicts": EqualVerdicts, "pass_rate": PassRate, "truncated": Truncated}


@dataclass(frozen=True)
class FilterChain:
    """Filters in the order of the settings."""

    filters: tuple[tuple[str, GroupFilter], ...] = ()

    def reason(self, group: GradedGroup) -> str:
        """Why the first filter that does so leaves the group out, with its name; empty where all let it pass."""
        for name, leaves_out in self.filters:
            if why := leaves_out(group):
                return f"filter {name}: {why}"
        return ""


NO_FILTERS = FilterChain()


def build_filters(settings: Sequence[FilterSettings]) -> FilterChain:
    """The chain of a run's `algorithm.filters`."""
    return FilterChain(tuple((section.type, FILTERS[section.type](section)) for section in settings))
