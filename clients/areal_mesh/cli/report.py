"""What is left of a run for a person: the table, `plots/curves.png`, TensorBoard events."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.cli.evaluation_lines import evaluation_figures
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.found_runs import SUMMARY_FILE, finished_summary, is_run, read_summary
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.running_runs import goes_on
from areal_mesh.cli.summary import summary_so_far, summary_table
from areal_mesh.cli.tables import print_wide
from areal_mesh.cli.view import counted
from areal_mesh.runtime.settings import FILE_SUFFIXES, preset_names
from areal_mesh.views.rows import Row, read_rows
from areal_mesh.views.run_views import CURVES, EVALUATIONS_FILE, EVENTS_FOLDER, METRICS_FILE, RunViews


def report_on(source: str) -> None:
    """Prints the table of a run and writes its plots and events anew; of one that goes on, as far as it has come.

    `source` is a run directory, or the preset or file whose run it is.

    Raises:
        CommandFailed: there is no such run. Nothing is made then.
    """
    folder = run_folder(source)
    rows = read_rows(folder / METRICS_FILE)
    views = RunViews(folder, lambda text: print(text, file=sys.stderr))
    if goes_on(folder):
        print(f"{folder}: the run goes on, and writes its TensorBoard events itself", file=sys.stderr)
        views.draw()
    else:
        views.conclude()
    summary = read_summary(folder / SUMMARY_FILE)
    # A run that was gone on with has the summary of an earlier sitting until it ends again.
    if summary is None or summary.get("steps", 0) < len(rows):
        _print_so_far(folder, rows)
    else:
        print_table(folder)


def _print_so_far(folder: Path, rows: Sequence[Row]) -> None:
    if rows:
        _print(folder, summary_so_far(folder.name, rows))
    print(f"{folder}: the run has not ended; {counted(len(rows), 'step')} so far")


def run_folder(source: str) -> Path:
    """The directory of a run, given by it or by the preset or file whose run it is.

    Raises:
        CommandFailed: there is no such run.
    """
    folder = _folder_of(source)
    if not is_run(folder):
        raise CommandFailed(f"{folder}: no run was begun there; give the directory of one, such as runs/trial")
    return folder


def _folder_of(source: str) -> Path:
    if Path(source).is_dir():
        if not is_run(Path(source)):
            # Events are written anew, those of another program included.
            raise CommandFailed(f"{source}: is no run's directory, so nothing is written there; give that of a run")
        return Path(source)
    if Path(source).suffix not in FILE_SUFFIXES and source not in (known := preset_names()):
        raise CommandFailed(
            f"{source}: no such run directory, and no such preset; give the directory of a run, such as runs/trial, a "
            f"preset ({', '.join(known) or 'there is none here'}), or the path of a {' or '.join(FILE_SUFFIXES)} file"
        )
    return resolved(source).run_directory


def print_end(folder: Path) -> None:
    """Prints the table of a finished run and where its files are; nothing of any other."""
    if finished_summary(folder) is not None and print_table(folder):
        print(files_line(folder), flush=True)


def files_line(folder: Path) -> str:
    """What a run leaves for a person, and where."""
    return f"{folder}: {SUMMARY_FILE}, {METRICS_FILE}, {EVENTS_FOLDER}/, {CURVES}"


def print_table(folder: Path) -> bool:
    """Prints the table of the run in `folder`; False if it has no summary."""
    summary = read_summary(folder / SUMMARY_FILE)
    if summary is None:
        return False
    _print(folder, summary)
    return True


def _print(folder: Path, summary: Mapping[str, Any]) -> None:
    print_wide(summary_table(summary, evaluation_figures(read_rows(folder / EVALUATIONS_FILE))))
