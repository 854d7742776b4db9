"""The kinds of rewards: of each type of settings, the function that a process runs for it."""

from collections.abc import Callable, Sequence
from typing import Any

from areal_mesh.rewards.values import Target
from areal_mesh.runtime.settings.rewards import FunctionRewardSettings, HttpRewardSettings, RewardSettings


def _function(settings: FunctionRewardSettings) -> Target:
    return Target(
        settings.term, settings.function, settings.weight, settings.seconds, settings.at_once, settings.options
    )


def _http(settings: HttpRewardSettings) -> Target:
    options: dict[str, bool | int | float | str] = {
        "url": settings.url,
        "token_variable": settings.token_variable,
        "request_seconds": settings.seconds,
    }
    function = "areal_mesh.rewards.http_judge:judge"
    return Target(settings.term, function, settings.weight, settings.seconds, settings.at_once, options)


REWARDS: dict[str, Callable[[Any], Target]] = {"function": _function, "http": _http}


def targets_of(rewards: Sequence[RewardSettings]) -> list[Target]:
    """What is run for the rewards of the settings, in their order."""
    return [REWARDS[section.type](section) for section in rewards]  # type: ignore[attr-defined]
