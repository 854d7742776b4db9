"""Serves the page on loopback until it is interrupted."""

import socket
from collections.abc import Callable, Sequence

import uvicorn

from areal_mesh.page.app import build_app
from areal_mesh.page.shown_run import ShownRun

HOST = "127.0.0.1"
_BACKLOG = 64
_DRAIN_SECONDS = 1


def serve(runs: Sequence[ShownRun], port: int, ready: Callable[[str], None]) -> None:
    """Serves the page; `ready` is given its address. Blocks until SIGINT or SIGTERM.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    with socket.create_server((HOST, port), backlog=_BACKLOG) as listening:
        config = uvicorn.Config(
            build_app(runs), log_level="warning", access_log=False, timeout_graceful_shutdown=_DRAIN_SECONDS
        )
        ready(f"http://{HOST}:{listening.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listening])
