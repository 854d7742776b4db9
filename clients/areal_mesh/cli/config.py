"""`areal-mesh config`: settings as they resolve, and what of them this machine cannot run."""

import json
from collections.abc import Sequence

from areal_mesh.cli.control import ask
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import faults, remarks
from areal_mesh.cli.machine import read_machine
from areal_mesh.cli.printing import is_unicode
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.reward_check import reward_faults, rewards_shown, tried_rewards
from areal_mesh.cli.shown_settings import PROMPTS_READ, gpus_shown, prompts_shown
from areal_mesh.runtime.service import EXIT_CANNOT_START
from areal_mesh.runtime.settings import RunSettings


def show(source: str, controller: str, overrides: Sequence[str]) -> None:
    """Prints settings as one JSON object, which is itself a settings file."""
    if source:
        settings = resolved(source, overrides).model_dump(mode="json")
    else:
        settings = ask(controller, lambda mesh: mesh.config())
    # Where a character has to be escaped, JSON's own way keeps the settings what they are.
    print(json.dumps(settings, indent=2, ensure_ascii=not is_unicode()))


def check(sources: Sequence[str], overrides: Sequence[str]) -> None:
    """Checks each source.

    Raises:
        CommandFailed: some do not hold; all are reported.
    """
    failed = 0
    for source in sources:
        try:
            settings = resolved(source, overrides)
        except CommandFailed as failure:
            failed += 1
            print(failure)
            continue
        tried = tried_rewards(settings)
        found = [*faults(settings, PROMPTS_READ), *reward_faults(tried)]
        failed += bool(found)
        if not found:
            print(f"{source}: holds; run {settings.name}, {_schedule(settings)}")
        shown = [
            *prompts_shown(settings),
            *rewards_shown(tried),
            gpus_shown(read_machine(settings.directory), settings),
        ]
        for line in (*shown, *found, *remarks(settings)):
            print(f"{source}: {line}")
    if failed:
        raise CommandFailed(f"{failed} of {len(sources)} do not hold", EXIT_CANNOT_START)


def _schedule(settings: RunSettings) -> str:
    limits = ", ".join(str(stage.max_response_tokens) for stage in settings.stages)
    return f"{settings.planned_steps} steps at most, stages of {limits} response tokens"
