"""Waiting for the end of a run that may be anywhere: by its controller's answers, and by what it leaves.

Locks tell more (`running_runs`), but only to processes of one machine, outside containers.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from areal_mesh.cli.found_runs import finished_summary, is_run
from areal_mesh.cli.targets import Target
from areal_mesh.client import ControllerTimeout, ControllerUnreachable, MeshClient, MeshClientError, RunState
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.waiting import wait_until

PATIENCE_SECONDS = 60.0
"""How long a controller may be away before its run is taken for over: a restart takes seconds."""
LOOK_SECONDS = 2.0
_CLOSING_SECONDS = 0.1


def runs_in(directory: Path) -> list[Path]:
    """The runs whose directories lie in a directory; itself, if it is a run's."""
    if is_run(directory):
        return [directory]
    return [path for path in sorted(directory.iterdir()) if path.is_dir() and is_run(path)]


async def looks(
    target: Target, directory: Path, *, patience_seconds: float = PATIENCE_SECONDS, look_seconds: float = LOOK_SECONDS
) -> AsyncIterator[None]:
    """Yields every `look_seconds` while a run goes on, and ends when it is over.

    It is over when its controller answers no more, and said that the run was being stopped, or the summary says that it
    is finished, or none has answered for `patience_seconds`. Before the first answer it is any finished run of
    `directory`.

    Raises:
        MeshClientError: the controller refuses who asks.
    """
    clock = asyncio.get_running_loop()
    name, seen_at, stopping = "", clock.time(), False
    async with target.mesh() as mesh:
        while True:
            try:
                status = await mesh.status()
                name, seen_at = status.run_name, clock.time()
                stopping = status.state is RunState.STOPPING
                if status.finished:
                    yield
                    await _until_it_leaves(mesh)
                    if _is_finished(directory, name):
                        return
            except (ControllerUnreachable, ControllerTimeout):
                away = clock.time() - seen_at
                if stopping or away >= patience_seconds or _is_finished(directory, name):
                    return
            yield
            await asyncio.sleep(look_seconds)


async def _until_it_leaves(mesh: MeshClient) -> None:
    """Waits as long as the controller of a finished run stays: it tells others that it is over, and draws at last.

    Its streams end before it draws; its port is closed once it has.
    """
    address, never = Address.parse(mesh.address), asyncio.Event()
    # Now: the name of a container goes with it.
    found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    with suppress(ControllerUnreachable, ControllerTimeout):
        async for _ in mesh.watch():
            pass
    while await _listens(*found[0][4][:2]):
        await wait_until(never, _CLOSING_SECONDS)


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def run_is_over(target: Target, directory: Path) -> None:
    """Returns when `looks` ends; also where it is refused an answer, which is said on standard error."""
    try:
        async for _ in looks(target, directory):
            pass
    except MeshClientError as error:
        print(f"areal-mesh: {error}", file=sys.stderr, flush=True)


def _is_finished(directory: Path, name: str) -> bool:
    return any(finished_summary(run) is not None for run in runs_in(directory) if run.name == name or not name)
