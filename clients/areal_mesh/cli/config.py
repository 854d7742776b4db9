"""`areal-mesh config`: settings as they resolve, and what of them this machine cannot run."""

import json
from collections.abc import Callable, Sequence

from areal_mesh.cli.control import ask
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import faults, remarks
from areal_mesh.cli.machine import read_machine
from areal_mesh.cli.memory_report import Cluster, memory_report
from areal_mesh.cli.printing import is_unicode
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.reward_check import Tried, reward_faults, rewards_shown, tried_rewards
from areal_mesh.cli.shown_settings import PROMPTS_READ, gpus_shown, prompts_shown
from areal_mesh.cli.targets import Target
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.settings import RunSettings


def show(source: str, target: Callable[[], Target], overrides: Sequence[str]) -> None:
    """Prints settings as one JSON object, which is itself a settings file; without a source those of a run."""
    if source:
        settings = resolved(source, overrides).model_dump(mode="json")
    else:
        settings = ask(target(), lambda mesh: mesh.config())
    # Where a character has to be escaped, JSON's own way keeps the settings what they are.
    print(json.dumps(settings, indent=2, ensure_ascii=not is_unicode()))


def check(sources: Sequence[str], overrides: Sequence[str], cluster: Cluster | None = None) -> None:
    """Checks each source; with a cluster, whether it fits its GPUs, too.

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
        notes: list[str] = []
        if cluster is not None:
            too_large, notes = memory_report(settings, cluster)
            found += too_large
        failed += bool(found)
        if not found:
            print(f"{source}: holds; run {settings.name}, {_schedule(settings)}")
        for line in (*_shown(settings, tried), *found, *notes, *remarks(settings)):
            print(f"{source}: {line}")
    if failed:
        raise CommandFailed(f"{failed} of {len(sources)} do not hold", EXIT_CANNOT_START)


def cluster_of(nodes: int | None, gpus: int | None, memory: float | None) -> Cluster | None:
    """The GPUs that the options name; None where they name none."""
    if nodes is gpus is memory is None:
        return None
    return Cluster(nodes or 1, gpus or 8, 80.0 if memory is None else memory)


def _shown(settings: RunSettings, tried: Tried) -> list[str]:
    """The prompts, what rewards gave, and the GPUs, a line each."""
    gpus = gpus_shown(read_machine(settings.directory), settings)
    return [*prompts_shown(settings), *rewards_shown(tried), gpus]


def _schedule(settings: RunSettings) -> str:
    limits = ", ".join(str(stage.max_response_tokens) for stage in settings.stages)
    return f"{settings.planned_steps} steps at most, stages of {limits} response tokens"
