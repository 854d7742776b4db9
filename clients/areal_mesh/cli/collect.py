"""`areal-mesh collect`: the files of runs that a person reads, brought to another folder; once, or while a run goes on.

Ledger, replay log and checkpoints stay where they are: they are the services' state, and large.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.run_watch import looks, runs_in
from areal_mesh.cli.targets import Target
from areal_mesh.client import MeshClientError

COLLECTED = (
    "settings.json",
    "setup.json",
    "summary*.json",
    "*.jsonl",
    "plots/*",
    "tensorboard/*",
    "evaluations/**/*",
    "logs/*",
)
"""Patterns of what is brought, in a run's directory."""


def collect(directory: str, into: str, follow: Target | None = None) -> None:
    """Brings what has changed since the last time; prints what was brought.

    Args:
        directory: a run's, or one that holds runs.
        into: a folder that is there; a run's files go to a folder of its name in it, and belong to whom it belongs to
            where this process may say so.
        follow: bring again every two seconds, until the run of this controller is over.

    Raises:
        CommandFailed: a folder is not there, or cannot be read or written.
    """
    source, goal = Path(directory), Path(into)
    for folder, what in ((source, "runs lie in `directory` of their settings (runs)"), (goal, "make it first")):
        if not folder.is_dir():
            raise CommandFailed(f"{folder}: no such directory; {what}")
    if goal.resolve().is_relative_to(source.resolve()):
        raise CommandFailed(f"--into {into}: lies in {directory}, whose files it is to take; name another folder")
    if follow is None and not runs_in(source):
        raise CommandFailed(f"{directory}: holds no run; `areal-mesh up` begins one")
    collection = _Collection(source, goal)
    try:
        if follow is not None:
            asyncio.run(_follow(collection, follow))
        collection.bring()
    except MeshClientError as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"{error.filename or into}: {(error.strerror or str(error)).lower()}") from error
    print(f"{into}: {collection.files} files of {', '.join(run.name for run in runs_in(source)) or 'no run'}")


async def _follow(collection: "_Collection", target: Target) -> None:
    async for _ in looks(target, collection.source):
        collection.bring()


class _Collection:
    def __init__(self, source: Path, goal: Path) -> None:
        self.source = source
        self.files = 0
        self._goal = goal
        owner = goal.stat()
        self._owner = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None

    def bring(self) -> None:
        for run in runs_in(self.source):
            for file in _files_of(run):
                self._bring(file, self._goal / run.name / file.relative_to(run))

    def _bring(self, file: Path, to: Path) -> None:
        try:
            there = file.stat()
            if to.exists() and (to.stat().st_size, to.stat().st_mtime_ns) == (there.st_size, there.st_mtime_ns):
                return
            content = file.read_bytes()
        except FileNotFoundError:  # the run goes on, and replaces its files
            return
        self._make(to.parent)
        aside = to.with_name(f".{to.name}.new")
        aside.write_bytes(content)
        os.utime(aside, ns=(there.st_atime_ns, there.st_mtime_ns))
        self._give(aside)
        os.replace(aside, to)
        self.files += 1

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir()
            self._give(folder)

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner)


def _files_of(run: Path) -> Iterator[Path]:
    for pattern in COLLECTED:
        yield from (file for file in sorted(run.glob(pattern)) if file.is_file() and not file.name.startswith("."))
