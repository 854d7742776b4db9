"""Stages in a word, for the controller's tests."""

from typing import Any

from areal_mesh.runtime.settings.stages import RuleSettings, StageSettings


def stage(name: str, max_response_tokens: int, max_steps: int, *rules: RuleSettings, **more: Any) -> StageSettings:
    return StageSettings(
        name=name, max_response_tokens=max_response_tokens, max_steps=max_steps, rules=list(rules), **more
    )
