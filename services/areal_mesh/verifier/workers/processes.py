"""Starting, asking and ending worker processes through the fork server."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import dataclass
from typing import Any, Final

from areal_mesh.verifier.workers import wire

_START_SECONDS: Final = 20.0
"""The fork server loads mpmath and its tables first, which takes seconds on a busy machine."""
_SPAWN_ATTEMPTS: Final = 2
_KEPT_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""All that the fork server inherits: tokens and keys in the environment are no business of a worker."""

# The values of fork_server's commands, repeated because importing it would load mpmath into the service.
_COMMAND_BYTES: Final = 9


class WorkerStartError(RuntimeError):
    """No worker could be started."""


@dataclass(eq=False, slots=True)
class Worker:
    """The pool's end of one worker."""

    process: int
    filtered: bool
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answers: int = 0
    cpu_seconds: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether the connection is open. A worker that was killed while idle has closed it."""
        return not self.reader.at_eof() and not self.writer.is_closing()

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its reply.

        Raises:
            BrokenFrame: if the worker ended, or answered something else.
        """
        try:
            self.writer.write(wire.encode(request))
            await self.writer.drain()
        except ConnectionError as error:
            raise wire.BrokenFrame("the worker closed its connection") from error
        reply = await wire.read(self.reader)
        if reply.get("id") != request["id"]:
            raise wire.BrokenFrame("the worker answered another request")
        return reply

    def used(self, cpu_seconds: float) -> None:
        self.answers += 1
        self.cpu_seconds = cpu_seconds


class WorkerFactory:
    """Owns the fork server: starts it when first needed and again when it has ended."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._server: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()

    @property
    def server_process(self) -> int | None:
        """Process id of the fork server."""
        return self._server.pid if self._server is not None else None

    async def spawn(self) -> Worker:
        """A new worker, ready to be asked.

        Raises:
            WorkerStartError: if none came up within the deadline.
        """
        problem: Exception | None = None
        for _ in range(_SPAWN_ATTEMPTS):
            try:
                async with asyncio.timeout(_START_SECONDS):
                    return await self._spawn_once()
            except (OSError, wire.BrokenFrame, TimeoutError) as error:
                problem = error
                await self._stop_server()
        raise WorkerStartError(
            f"no grading worker started ({problem!r}): "
            "run `python -m areal_mesh.verifier.workers.fork_server 0 0` to see why"
        )

    async def _spawn_once(self) -> Worker:
        async with self._lock:
            control = await self._running_server()
            ours, theirs = socket.socketpair()
            try:
                socket.send_fds(control, [b"S" + bytes(_COMMAND_BYTES - 1)], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=wire.MAX_FRAME_BYTES)
        try:
            hello = await wire.read(reader)
        except BaseException:
            writer.close()
            raise
        return Worker(int(hello["process"]), bool(hello["filtered"]), reader, writer)

    async def _running_server(self) -> socket.socket:
        if self._server is not None and self._server.returncode is None and self._control is not None:
            return self._control
        await self._stop_server()
        ours, theirs = socket.socketpair()
        try:
            self._server = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "areal_mesh.verifier.workers.fork_server",
                str(theirs.fileno()),
                str(self._memory_bytes),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
                pass_fds=(theirs.fileno(),),
            )
        finally:
            theirs.close()
        self._control = ours
        return ours

    def kill(self, worker: Worker) -> None:
        """End a worker at once. The fork server does it, because only it knows that the process id is still its."""
        worker.writer.close()
        if self._control is not None:
            try:
                self._control.sendall(b"K" + worker.process.to_bytes(_COMMAND_BYTES - 1, "little"))
            except OSError:
                # The server has ended, and its workers with it.
                self._control.close()
                self._control = None

    async def close(self) -> None:
        """End the fork server and every worker."""
        async with self._lock:
            await self._stop_server()

    async def _stop_server(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is None:
            return
        if self._server.returncode is None:
            self._server.kill()
        await self._server.wait()
        self._server = None
