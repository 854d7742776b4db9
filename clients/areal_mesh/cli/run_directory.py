"""The directory of a run as its launcher finds it: new, to be gone on with, or finished; held by one at a time.

Invariants:
- `settings.json` is what the run goes on with: what else may be another is refused (`going_on`), and the ledger keeps
  what was another before;
- nothing is deleted but a directory that a launcher made.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.found_runs import SUMMARY_FILE, finished_summary, is_run
from areal_mesh.cli.going_on import Meant, check_changes
from areal_mesh.runtime.locks import FileLock, LockHeld
from areal_mesh.runtime.run_files import SETTINGS_FILE, keep_settings
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings
from areal_mesh.runtime.settings.changes import SettingChange


@contextmanager
def held(settings: RunSettings) -> Iterator[Path]:
    """Holds the run directory for this launcher; whether it is there already or not, nothing in it changes.

    Raises:
        CommandFailed: another launcher holds it.
    """
    folder = settings.run_directory
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the directory, so that the lock outlives a deletion of what it guards.
    try:
        lock = FileLock(folder.parent / f".{folder.name}.lock")
    except LockHeld as error:
        raise CommandFailed(
            f"{folder}: another launcher runs it; look with `areal-mesh status`, end it with `areal-mesh stop`, "
            "or give this run a name of its own with --set name=..."
        ) from error
    try:
        yield folder
    finally:
        lock.release()


def enter(folder: Path, settings: RunSettings, fresh: bool, meant: Meant = lambda key: True) -> list[SettingChange]:
    """Opens a held run directory for these settings: made, or checked to be the same run's. Returns what is another.

    Args:
        meant: whether the command says a setting itself; what it only leaves out is no change.

    Raises:
        CommandFailed: it is another run's, or no run's at all.
    """
    if fresh:
        _delete(folder, settings)
    file = folder / SETTINGS_FILE
    wanted = settings.model_dump(mode="json")
    if file.is_file():
        changes = check_changes(folder, _settings_there(file), wanted, meant)
        if changes:
            _reopen(folder, changes)
            keep_settings(folder, wanted)
        return changes
    if folder.is_dir() and any(folder.iterdir()):
        raise CommandFailed(
            f"{folder} is not empty and holds no {SETTINGS_FILE}, so it is no run's; move it, or name this run "
            "otherwise (--set name=...)"
        )
    folder.mkdir(exist_ok=True)
    keep_settings(folder, wanted)
    return []


def _reopen(folder: Path, changes: Sequence[SettingChange]) -> None:
    """Puts the summary of a finished run aside, which is not its last word any more.

    Raises:
        CommandFailed: nothing of what changes gives it more steps.
    """
    summary = finished_summary(folder)
    if summary is not None:
        if not any(change.key.startswith("stages.") for change in changes):
            raise CommandFailed(
                f"{folder}: the run is finished; give it more steps (--set stages.N.max_steps=...) to go on under "
                "other settings"
            )
        os.replace(folder / SUMMARY_FILE, folder / f"summary-{summary.get('steps', 0)}.json")


def _settings_there(file: Path) -> Any:
    """The settings of the run that is there, with the defaults of keys that are newer than it."""
    try:
        return load_settings(file).model_dump(mode="json")
    except SettingsError:
        # Of a version with other keys; those are what differs.
        return json.loads(file.read_text(encoding="utf-8"))


def _delete(folder: Path, settings: RunSettings) -> None:
    if not folder.exists():
        return
    if any(folder.iterdir()) and not is_run(folder):
        raise CommandFailed(
            f"{folder} holds no {SETTINGS_FILE} of a run, so it is no run's, and --fresh leaves it; move it"
        )
    for key, path in (("model.folder", settings.model.folder), ("prompts.file", settings.prompts.file)):
        if path.resolve().is_relative_to(folder.resolve()):
            raise CommandFailed(
                f"{key} = {path}: lies in the run directory, which --fresh deletes; copy it to another place, or name "
                "this run otherwise (--set name=...)"
            )
    shutil.rmtree(folder)
