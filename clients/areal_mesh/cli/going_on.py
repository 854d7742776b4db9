"""A run that is there, gone on with under other settings: which of them may be others, and what is said of it."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.runtime.settings.changes import SettingChange, changes_between, refusal
from areal_mesh.views.rows import read_rows
from areal_mesh.views.run_views import METRICS_FILE

_CHECKPOINT = re.compile(r"version-(\d+)")
Meant = Callable[[str], bool]
"""Whether a command says a setting itself, by key."""


@dataclass(frozen=True)
class Standing:
    """How far a run has come, as its directory tells."""

    stage: int
    steps: int
    covered: int
    """Step of the newest checkpoint; 0 where there is none."""


def standing_of(folder: Path) -> Standing:
    """How far the run in `folder` has come."""
    rows = read_rows(folder / METRICS_FILE)
    stage, steps = (int(rows[-1].get("stage", 0)), int(rows[-1]["step"])) if rows else (-1, 0)
    written = [_CHECKPOINT.fullmatch(path.parent.name) for path in folder.glob("checkpoints/*/manifest.json")]
    return Standing(stage, steps, max((int(found[1]) for found in written if found), default=0))


def check_changes(folder: Path, there: Any, wanted: Any, meant: Meant) -> list[SettingChange]:
    """What is another between the settings of the run in `folder` and those wanted; all of it may be.

    Raises:
        CommandFailed: something may not, or is another only because the command leaves it out.
    """
    changes = list(changes_between(there, wanted))
    standing = standing_of(folder)
    refused = []
    for change in changes:
        why = refusal(change, standing.stage, standing.steps, standing.covered)
        if not why and not meant(change.key):
            why = "say so with --set, if it is meant"
        refused += [f"  {change} ({why})"] if why else []
    if refused:
        raise CommandFailed(
            f"{folder} holds a run with other settings:\n"
            + "\n".join(refused)
            + f"\ngo on with those (areal-mesh up {folder / 'settings.json'}), begin another run from its weights "
            f"(areal-mesh up --from {folder} --set name=...), name this run otherwise (--set name=...), or delete that "
            "one with --fresh"
        )
    return changes


def meant_by(source: str, overrides: Sequence[str]) -> Meant:
    """What a command says itself: by `--set`, or all of it where it names a file, which the user wrote."""
    if Path(source).suffix:
        return lambda key: True
    said = [override.partition("=")[0].strip() for override in overrides]
    return lambda key: any(key == name or key.startswith(f"{name}.") for name in said)


def say_changes(folder: Path, changes: Sequence[SettingChange]) -> None:
    """Tells what changes from here on; the controller keeps it in the ledger."""
    steps = standing_of(folder).steps
    for change in changes:
        print(f"from step {steps + 1} on, {change.key} = {json.dumps(change.now)} (was {json.dumps(change.before)})")
