"""What a plan knows of a run's model and prompts: from their files where they are there, else what is published."""

import json
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.planning.lengths import LENGTHS, ResponseLengths
from areal_mesh.planning.published import PROMPTS
from areal_mesh.planning.shapes import MODELS, ModelShape, UnknownShape, shape_of
from areal_mesh.runtime.settings import RunSettings

_SHARE_OF_LIMIT = 0.3
_SPREAD = 0.8
"""Of the responses of a model that nothing is known of: a third of the longest limit, and a heavy tail."""


def shape_for(settings: RunSettings) -> ModelShape:
    """The shape of the run's model.

    Raises:
        CommandFailed: its folder is not there, and it is none of the presets'.
    """
    folder = settings.model.folder
    file = folder / "config.json"
    if not file.is_file():
        if folder.name in MODELS:
            return MODELS[folder.name]
        raise CommandFailed(
            f"model.folder = {folder}: not there yet, and its shape is not known by its name ({', '.join(MODELS)}); "
            "put its config.json there"
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        return shape_of(config if isinstance(config, dict) else {})
    except (OSError, ValueError, UnknownShape) as error:
        raise CommandFailed(f"model.folder = {folder}: {error}") from error


def known_lengths(settings: RunSettings) -> ResponseLengths:
    """How long the model's responses are before training, as far as it is known."""
    return LENGTHS.get(
        settings.model.folder.name, ResponseLengths(_SHARE_OF_LIMIT * settings.longest_response, _SPREAD)
    )


def prompt_count(settings: RunSettings) -> int:
    """Prompts of an epoch: the file's where it is there, else as many as AReaL v0.1 trained on."""
    found = _lines(settings.prompts.file)
    if settings.prompts.count:
        return min(settings.prompts.count, found or settings.prompts.count)
    return found or PROMPTS


def _lines(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            return sum(bool(line.strip()) for line in stream)
    except OSError:
        return 0
