"""`areal-mesh runs`: the runs that lie in a directory, each found by what it leaves there and by nothing else."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.table import Table

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.found_runs import finished_summary, is_run
from areal_mesh.cli.running_runs import goes_on
from areal_mesh.cli.tables import print_wide
from areal_mesh.views.rows import read_rows
from areal_mesh.views.run_views import METRICS_FILE

_MIB = 1 << 20
_SMOOTHED_STEPS = 5


@dataclass(frozen=True)
class FoundRun:
    """One run's directory at a glance."""

    name: str
    directory: str
    state: str
    """`goes on`: a launcher or controller works on it; `finished`: its schedule is complete; else `stopped`."""
    steps: int
    reward: float | None
    """Mean over the last five steps."""
    bytes: int
    """Of all its files, as far as the disk holds them."""
    written_at: float
    """When a file of it was last written, unix seconds."""


def list_runs(directory: str, as_json: bool) -> None:
    """Prints a line for each run, the last written first.

    Raises:
        CommandFailed: the directory is not there, or holds no run.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise CommandFailed(f"{directory}: no such directory; runs lie in `directory` of their settings (runs)")
    found = sorted(find_runs(folder), key=lambda run: run.written_at, reverse=True)
    if not found:
        raise CommandFailed(f"{directory}: holds no run; `areal-mesh up` begins one")
    if as_json:
        for run in found:
            print(json.dumps(asdict(run)))
        return
    table = Table(title=str(folder), title_justify="left")
    for name in ("run", "state", "steps", "reward", "MiB", "last written"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right")
    for run in found:
        reward = "-" if run.reward is None else f"{run.reward:+.3f}"
        written = datetime.fromtimestamp(run.written_at).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(run.name, run.state, str(run.steps), reward, f"{run.bytes / _MIB:.1f}", written)
    print_wide(table)


def find_runs(folder: Path) -> Iterator[FoundRun]:
    """The runs whose directories lie in a folder."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and is_run(path):
            yield _look_at(path)


def _look_at(path: Path) -> FoundRun:
    rows = read_rows(path / METRICS_FILE)
    rewards = [float(row["reward"]) for row in rows[-_SMOOTHED_STEPS:] if row.get("reward") is not None]
    size, written_at = _size_and_time(path)
    state = "goes on" if goes_on(path) else "finished" if finished_summary(path) is not None else "stopped"
    return FoundRun(
        name=path.name,
        directory=str(path),
        state=state,
        steps=int(rows[-1]["step"]) if rows else 0,
        reward=sum(rewards) / len(rewards) if rewards else None,
        bytes=size,
        written_at=written_at or time.time(),
    )


def _size_and_time(path: Path) -> tuple[int, float]:
    """Bytes on the disk of all files in a folder, and when one was last written."""
    size, newest = 0, 0.0
    for file in path.rglob("*"):
        try:
            found = file.lstat()
        except FileNotFoundError:  # the run goes on, and deletes what it is done with
            continue
        size += found.st_blocks * 512
        if file.is_file():
            newest = max(newest, found.st_mtime)
    return size, newest
