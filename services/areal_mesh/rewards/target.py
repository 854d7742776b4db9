"""A reward function as it is run: where it stands, what it is given beside a group, and how it is called."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from areal_mesh.runtime.settings.rewards import RewardSettings


@dataclass(frozen=True, slots=True)
class Target:
    """A reward function."""

    term: str
    """Name of what it adds to the reward."""
    place: str
    """`FILE.py:FUNCTION` or `MODULE:FUNCTION`."""
    settings: RewardSettings = field(default_factory=RewardSettings)
    arguments: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Given by name with each call."""
