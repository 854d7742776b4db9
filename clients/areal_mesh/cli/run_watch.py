"""Waiting for the end of a run that may be anywhere: by its controller's answers, and by what it leaves.

Locks tell more (`running_runs`), but only to processes of one machine, outside containers.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from areal_mesh.cli.run_directory import finished_summary, is_run
from areal_mesh.cli.targets import Target
from areal_mesh.client import ControllerTimeout, ControllerUnreachable, MeshClientError

PATIENCE_SECONDS = 60.0
"""How long a controller may be away before its run is taken for over: a restart takes seconds."""
LOOK_SECONDS = 2.0
ENDING_SECONDS = 0.25
"""Between looks at a run that is finished, whose controller is about to leave."""


def runs_in(directory: Path) -> list[Path]:
    """The runs whose directories lie in a directory; itself, if it is a run's."""
    if is_run(directory):
        return [directory]
    return [path for path in sorted(directory.iterdir()) if path.is_dir() and is_run(path)]


async def looks(
    target: Target, directory: Path, *, patience_seconds: float = PATIENCE_SECONDS, look_seconds: float = LOOK_SECONDS
) -> AsyncIterator[None]:
    """Yields every `look_seconds` while a run goes on, and ends when it is over.

    It is over when its controller answers no more and its summary says that it is finished, or no controller has
    answered for `patience_seconds`. Before the first answer it is any finished run of `directory`.

    Raises:
        MeshClientError: the controller refuses who asks.
    """
    clock = asyncio.get_running_loop()
    name, seen_at, finished = "", clock.time(), False
    async with target.mesh() as mesh:
        while True:
            try:
                status = await mesh.status()
                name, seen_at, finished = status.run_name, clock.time(), status.finished
            except (ControllerUnreachable, ControllerTimeout):
                if _is_finished(directory, name) or clock.time() - seen_at >= patience_seconds:
                    return
            yield
            await asyncio.sleep(min(look_seconds, ENDING_SECONDS) if finished else look_seconds)


async def run_is_over(target: Target, directory: Path) -> None:
    """Returns when `looks` ends; also where it is refused an answer, which is said on standard error."""
    try:
        async for _ in looks(target, directory):
            pass
    except MeshClientError as error:
        print(f"areal-mesh: {error}", file=sys.stderr, flush=True)


def _is_finished(directory: Path, name: str) -> bool:
    return any(finished_summary(run) is not None for run in runs_in(directory) if run.name == name or not name)
