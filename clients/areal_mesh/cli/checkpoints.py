"""`areal-mesh checkpoint list`: the checkpoints of a run and their copies, and what is wrong with any of them."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.report import run_folder
from areal_mesh.cli.tables import print_wide
from areal_mesh.learner.checkpoints.manifest import fault_of, folders, read_manifest, version_of
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import SettingsError, load_settings

_MIB = 1 << 20


@dataclass(frozen=True)
class FoundCheckpoint:
    """One checkpoint's folder."""

    policy_version: int
    folder: str
    stage: str = ""
    bytes: int = 0
    fault: str = ""
    """What is wrong with it; a learner passes it over then."""
    copied: bool = False
    """Whether the second place has it too."""


def list_checkpoints(source: str, as_json: bool, contents: bool) -> int:
    """Prints the checkpoints of a run, the newest first; returns 1 where something is wrong with one.

    Args:
        contents: hold every file against its hash, which reads all of it.

    Raises:
        CommandFailed: there is no such run, or it has no checkpoint.
    """
    run = run_folder(source)
    found = list(_found(run, contents))
    if not found:
        raise CommandFailed(
            f"{run / 'checkpoints'}: no checkpoint yet; one is written every learner.checkpoint_every steps, and by "
            "`areal-mesh checkpoint now`"
        )
    if as_json:
        for checkpoint in found:
            print(json.dumps(asdict(checkpoint)))
    else:
        _print(run, found, contents)
    return 1 if any(checkpoint.fault for checkpoint in found) else 0


def _found(run: Path, contents: bool) -> Iterator[FoundCheckpoint]:
    copies = _copies(run)
    for folder in folders(run / "checkpoints"):
        with suppress(FileNotFoundError):
            found = _read(folder, contents, folder.name in copies)
            # A run keeps the last few: what it deleted while it was read is no fault, and no checkpoint.
            if folder.is_dir():
                yield found


def _read(folder: Path, contents: bool, copied: bool) -> FoundCheckpoint:
    fault = fault_of(folder, contents)
    if fault is not None:
        return FoundCheckpoint(version_of(folder), str(folder), fault=fault, copied=copied)
    manifest = read_manifest(folder)
    return FoundCheckpoint(version_of(folder), str(folder), manifest.stage, manifest.bytes, "", copied)


def _copies(run: Path) -> frozenset[str]:
    """Names of the copies in the second place; none, and why is said, where it cannot be read."""
    try:
        place = load_settings(run / SETTINGS_FILE).learner.checkpoint_copies
    except SettingsError:
        return frozenset()
    if place is None:
        return frozenset()
    from areal_mesh.learner.checkpoints.copying import CheckpointCopies, CopyFailed

    try:
        return frozenset(CheckpointCopies(place.rstrip("/"), 1).names())
    except CopyFailed as error:
        print(f"copies: {error}", file=sys.stderr)
        return frozenset()


def _print(run: Path, found: list[FoundCheckpoint], contents: bool) -> None:
    table = Table(title=str(run / "checkpoints"), title_justify="left")
    for name in ("version", "stage", "MiB", "copied", "state"):
        table.add_column(name, justify="right" if name in ("version", "MiB") else "left")
    sound = "whole, every hash right" if contents else "whole by its sizes"
    for checkpoint in found:
        table.add_row(
            str(checkpoint.policy_version),
            checkpoint.stage,
            f"{checkpoint.bytes / _MIB:.1f}",
            "yes" if checkpoint.copied else "no",
            checkpoint.fault or sound,
        )
    print_wide(table)
