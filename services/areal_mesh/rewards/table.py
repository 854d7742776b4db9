"""The kinds of rewards: of each type of settings, the function that a process runs for it."""

from collections.abc import Callable, Sequence
from typing import Any

from areal_mesh.rewards.target import Target
from areal_mesh.runtime.settings.rewards import FunctionRewardSettings, HttpRewardSettings, RewardSettings


def _function(settings: FunctionRewardSettings) -> Target:
    return Target(settings.term, settings.function, settings, settings.options)


def _http(settings: HttpRewardSettings) -> Target:
    arguments: dict[str, bool | int | float | str] = {
        "url": settings.url,
        "token_variable": settings.token_variable,
        "request_seconds": settings.seconds,
    }
    return Target(settings.term, "areal_mesh.rewards.http_judge:judge", settings, arguments)


REWARDS: dict[str, Callable[[Any], Target]] = {"function": _function, "http": _http}


def targets_of(rewards: Sequence[RewardSettings]) -> list[Target]:
    """What is run for the rewards of the settings, in their order."""
    return [REWARDS[section.type](section) for section in rewards]  # type: ignore[attr-defined]
