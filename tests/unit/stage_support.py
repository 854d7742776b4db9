"""Stages and runs in a word, for the controller's tests."""

from typing import Any

from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.stages import RuleSettings, StageSettings


def stage(name: str, max_response_tokens: int, max_steps: int, *rules: RuleSettings, **more: Any) -> StageSettings:
    return StageSettings(
        name=name, max_response_tokens=max_response_tokens, max_steps=max_steps, rules=list(rules), **more
    )


def run_of(
    *stages: StageSettings, batch_groups: int = 2, max_staleness: int = 1, sync_every: int = 1, **controller: Any
) -> RunSettings:
    """Settings of a run of these stages; `controller` is its section, and no row of fruitless groups ends it."""
    return RunSettings.model_validate(
        {
            "name": "run",
            "stages": list(stages) or [stage("8K", 8, 1)],
            "algorithm": {"batch_groups": batch_groups, "max_staleness": max_staleness, "minibatches": 1},
            "model": {"folder": "model"},
            "prompts": {"file": "prompts.jsonl"},
            "controller": {"fruitless_groups": 0, **controller},
            "weights": {"sync_every": sync_every},
        }
    )
