"""A small process that forks grading workers: `python -m areal_mesh.grading.workers.fork_server DESCRIPTOR MEMORY`.

It loads SymPy once and never gRPC or torch, so that a worker is ready in milliseconds and forking is safe. It obeys
nine-byte commands on a socket: `S` with a descriptor forks a worker that serves it; `K` with a process id kills a
worker. It ends, and its workers with it, when the socket closes.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from types import FrameType
from typing import Final

from areal_mesh.grading.workers import sandbox, wire
from areal_mesh.grading.workers.worker import serve, warm_up

COMMAND_BYTES: Final = 9
SPAWN: Final = b"S"
KILL: Final = b"K"


def command(letter: bytes, process: int = 0) -> bytes:
    """A command's nine bytes."""
    return letter + process.to_bytes(COMMAND_BYTES - 1, "little")


def main(arguments: list[str]) -> int:
    """Obey commands until the socket closes."""
    control = socket.socket(fileno=int(arguments[0]))
    limits = sandbox.SandboxLimits(memory_bytes=int(arguments[1]))
    sandbox.die_with_parent()
    # The supervisor's signals to the process group are the pool's to handle: it closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children: set[int] = set()

    def reap(_signal: int, _frame: FrameType | None) -> None:
        for child in list(children):
            try:
                ended = os.waitpid(child, os.WNOHANG)[0] == child
            except ChildProcessError:
                ended = True  # the signal came in the middle of another round, which reaped it
            if ended:
                children.discard(child)

    warm_up()
    # What lives now lives on in every worker: keep the collector from touching, and so copying, its pages.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, reap)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, COMMAND_BYTES, 1)
        if not message:
            return 0
        if message[:1] == SPAWN and descriptors:
            child = _fork_worker(descriptors[0], control, limits)
            children.add(child)
            reap(signal.SIGCHLD, None)
        elif message[:1] == KILL:
            child = int.from_bytes(message[1:], "little")
            if child in children:
                os.kill(child, signal.SIGKILL)


def _fork_worker(descriptor: int, control: socket.socket, limits: sandbox.SandboxLimits) -> int:
    child = os.fork()
    if child:
        os.close(descriptor)
        return child
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sandbox.die_with_parent()
        control.close()
        serve(descriptor, limits)
        code = 0
    except wire.BrokenFrame:
        code = 0
    finally:
        # Never return into the server's loop, whatever happened.
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
