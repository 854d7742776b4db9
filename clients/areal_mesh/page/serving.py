"""Serves the page until it is interrupted, or until what it waits for has come about."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence

import uvicorn

from areal_mesh.page.app import build_app
from areal_mesh.page.shown_run import ShownRun

LOOPBACK = "127.0.0.1"
_BACKLOG = 64
_DRAIN_SECONDS = 1


def serve(
    runs: Sequence[ShownRun],
    host: str,
    port: int,
    ready: Callable[[str], None],
    over: Coroutine[None, None, None] | None = None,
) -> None:
    """Serves the page; `ready` is given its address. Blocks until SIGINT or SIGTERM.

    Args:
        host: address to listen on; whatever it is, only who asks for this machine by a name of loopback is answered.
        port: 0 takes a free one.
        over: leave as well when this has returned.

    Raises:
        OSError: the port is taken, or the host is no address of this machine.
    """
    with socket.create_server((host, port), backlog=_BACKLOG) as listening:
        config = uvicorn.Config(
            build_app(runs), log_level="warning", access_log=False, timeout_graceful_shutdown=_DRAIN_SECONDS
        )
        ready(f"http://{LOOPBACK}:{listening.getsockname()[1]}/")
        asyncio.run(_serve(uvicorn.Server(config), listening, over))


async def _serve(server: uvicorn.Server, listening: socket.socket, over: Coroutine[None, None, None] | None) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = None if over is None else tasks.create_task(_leave_after(over, server))
        await server.serve(sockets=[listening])
        if waiting is not None:
            waiting.cancel()


async def _leave_after(over: Coroutine[None, None, None], server: uvicorn.Server) -> None:
    await over
    server.should_exit = True
