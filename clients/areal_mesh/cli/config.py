"""`areal-mesh config`: settings as they resolve, and what of them this machine cannot run."""

import json
from collections.abc import Sequence

from areal_mesh.cli.control import ask
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import remarks
from areal_mesh.cli.resolving import resolved
from areal_mesh.runtime.settings import RunSettings


def show(source: str, controller: str, overrides: Sequence[str]) -> None:
    """Prints settings as one JSON object, which is itself a settings file."""
    if source:
        settings = resolved(source, overrides).model_dump(mode="json")
    else:
        settings = ask(controller, lambda mesh: mesh.config())
    print(json.dumps(settings, indent=2, ensure_ascii=False))


def check(sources: Sequence[str], overrides: Sequence[str]) -> None:
    """Checks each source.

    Raises:
        CommandFailed: some do not hold; all are reported.
    """
    faults = 0
    for source in sources:
        try:
            settings = resolved(source, overrides)
        except CommandFailed as failure:
            faults += 1
            print(failure)
            continue
        print(f"{source}: holds; run {settings.name}, {_schedule(settings)}")
        for remark in remarks(settings):
            print(f"{source}: {remark}")
    if faults:
        raise CommandFailed(f"{faults} of {len(sources)} do not hold")


def _schedule(settings: RunSettings) -> str:
    limits = ", ".join(str(stage.max_response_tokens) for stage in settings.stages)
    return f"{settings.planned_steps} steps at most, stages of {limits} response tokens"
