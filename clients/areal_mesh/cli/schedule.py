"""`areal-mesh schedule replay`: a preset's stage rules on the recorded steps of a run, before they are trusted."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.plan_model import prompt_count
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.tables import print_wide
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.views.rows import read_rows


def replay(file: str, preset: str, overrides: Sequence[str], as_json: bool) -> None:
    """Prints where each stage of the preset's schedule would have ended, and why.

    Raises:
        CommandFailed: the settings do not hold, or the file has no steps that a schedule could look at.
    """
    from areal_mesh.controller.replaying import NothingRecorded, replay_schedule

    settings = resolved(preset, overrides)
    if not Path(file).is_file():
        raise CommandFailed(f"{file}: no such file; give the metrics.jsonl of a run")
    try:
        rows = read_rows(Path(file))
        found = replay_schedule(settings.stages, rows, _epoch_share(settings))
    except (NothingRecorded, ValueError, AttributeError) as error:
        raise CommandFailed(f"{file}: {error}; give the metrics.jsonl of a run") from error
    if as_json:
        print(json.dumps([{**dataclasses.asdict(stage), "steps": stage.steps} for stage in found], indent=2))
        return
    table = Table()
    for title in ("stage", "steps", "first", "last", "ends because of"):
        table.add_column(title, justify="left" if title in ("stage", "ends because of") else "right")
    for stage in found:
        why = stage.reason or "the recorded steps end before it does"
        table.add_row(stage.name, f"{stage.steps}", f"{stage.first_step}", f"{stage.last_step}", why)
    print_wide(table)
    for stage in found:
        if stage.elsewhere:
            print(
                f"stage {stage.name}: {stage.elsewhere} of {stage.steps} steps were recorded at another response "
                "limit, so what they say of it is a guess"
            )
    left = [plan.name for plan in settings.stages[len(found) :]]
    if left:
        print(f"not reached: {', '.join(left)}")


def _epoch_share(settings: RunSettings) -> float:
    return settings.algorithm.batch_groups / prompt_count(settings)
