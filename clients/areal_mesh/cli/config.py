"""`areal-mesh config`: settings as they resolve, and what of them this machine cannot run."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from areal_mesh.cli.control import ask
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.resolving import resolved
from areal_mesh.runtime.settings import RunSettings

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


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
        for gap in gaps(settings):
            print(f"{source}: {gap}")
    if faults:
        raise CommandFailed(f"{faults} of {len(sources)} do not hold")


def _schedule(settings: RunSettings) -> str:
    limits = ", ".join(str(stage.max_response_tokens) for stage in settings.stages)
    return f"{settings.planned_steps} steps at most, stages of {limits} response tokens"


def gpu_present() -> bool:
    """Whether a GPU's driver shows on this machine; asks no library."""
    return any(Path(device).exists() for device in _GPU_DEVICES)


def gaps(settings: RunSettings) -> Iterator[str]:
    """What holds as settings but was not, or cannot be, run on this machine, a line each."""
    if not gpu_present():
        for role in ("generator", "learner"):
            section = getattr(settings, role)
            if section.device == "cuda":
                yield (
                    f'{role}.device = "cuda", {role}.transport = "{section.transport}": unrun here, this machine shows '
                    "no GPU; the settings are checked, the code path is not"
                )
    if settings.learner.ranks > 1:
        yield f"learner.ranks = {settings.learner.ranks}: FSDP2 over {settings.learner.ranks} processes; unrun here"
    if not settings.model.recipe and not (settings.model.folder / "config.json").is_file():
        yield f"model.folder = {settings.model.folder}: not there yet; put a Hugging Face folder there before `up`"
    if settings.model.recipe != "arithmetic" and not settings.prompts.file.is_file():
        yield f"prompts.file = {settings.prompts.file}: not there yet; put the JSONL file there before `up`"
