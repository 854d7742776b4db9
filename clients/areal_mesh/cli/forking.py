"""`areal-mesh up --from RUN[:STEP]`: a run of its own that begins with another's weights."""

from collections.abc import Sequence
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.report import run_folder
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings


def forked(begun_from: str, source: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Source and overrides of a run that begins with the weights of another's checkpoint.

    The weights are exported where `areal-mesh export` puts them, unless they are there already. Settings are those of
    the other run, or of `source` where it is named, with `overrides` on top.

    Args:
        begun_from: a run's directory, or its preset or file, and after a colon the step of a checkpoint; the newest
            where none is named.

    Raises:
        CommandFailed: there is no such run or checkpoint.
    """
    run, version = _parsed(begun_from)
    try:
        settings = load_settings(run / SETTINGS_FILE)
    except SettingsError as error:
        raise CommandFailed(f"{run / SETTINGS_FILE}: {error}") from error
    folder = _exported(run, version, settings)
    name = f"{settings.name}-from-{int(folder.name.rpartition('-')[2])}"
    begins = [f"name={name}", "model.recipe=none", f"model.folder={folder}"]
    return source or str(run / SETTINGS_FILE), [*begins, *overrides]


def _parsed(begun_from: str) -> tuple[Path, int | None]:
    place, colon, step = begun_from.rpartition(":")
    if colon and step.isdigit():
        return run_folder(place), int(step)
    return run_folder(begun_from), None


def _exported(run: Path, version: int | None, settings: RunSettings) -> Path:
    """The folder of the weights; written unless it is there."""
    there = run / "checkpoints" / f"export-{version:08d}" if version is not None else None
    if there is not None and (there / "config.json").is_file():
        return there
    # torch takes seconds to import: what can be known before is.
    from areal_mesh.learner.checkpoints.exporting import NotExported, export_version, newest_version

    try:
        version = newest_version(run / "checkpoints") if version is None else version
        folder = run / "checkpoints" / f"export-{version:08d}"
        if (folder / "config.json").is_file():
            return folder
        return export_version(run / "checkpoints", version, settings.model.folder, settings.model.dtype, None)
    except (NotExported, OSError) as error:
        raise CommandFailed(f"--from {run}: {error}") from error
