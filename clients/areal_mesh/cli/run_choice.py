"""Which run a command is about, and what settings it was begun with."""

import json
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.found_runs import LEDGER_FILE, is_run
from areal_mesh.cli.report import run_folder
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings

RUNS = Path("runs")


def runs_there() -> list[Path]:
    """Directories of the runs in `runs/`, the newest first."""
    found = [folder for folder in RUNS.glob("*") if folder.is_dir() and is_run(folder)]
    return sorted(found, key=_written_at, reverse=True)


def chosen_run(source: str) -> Path:
    """The directory of a run, given by it or by the preset or file whose run it is; of the newest run where nothing is.

    Raises:
        CommandFailed: there is no such run.
    """
    if source:
        return run_folder(source)
    found = runs_there()
    if not found:
        raise CommandFailed(f"no run is in {RUNS.resolve()}; name the directory of one")
    return found[0]


def settings_of(folder: Path) -> RunSettings:
    """The settings that a run was begun with.

    Raises:
        CommandFailed: they cannot be read by this version.
    """
    file = folder / SETTINGS_FILE
    try:
        return load_settings(file)
    except SettingsError as error:
        raise CommandFailed(f"{file}: {error}") from error
    except (OSError, json.JSONDecodeError) as error:
        raise CommandFailed(f"{file}: cannot be read: {error}; restore it") from error


def _written_at(folder: Path) -> float:
    return max((folder / name).stat().st_mtime for name in (LEDGER_FILE, SETTINGS_FILE) if (folder / name).exists())
