"""Starting, asking and ending worker processes through the fork server."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

from areal_mesh.grading.verdict import Status
from areal_mesh.grading.workers import wire

_START_SECONDS: Final = 20.0
"""The fork server loads SymPy first, which takes seconds on a busy machine."""
_SPAWN_ATTEMPTS: Final = 2
_SILENT_SPAWNS: Final = 3
"""Workers that were asked for in vain, one after another, before their server is taken to hang."""
_KEPT_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""All that the fork server inherits: tokens and keys in the environment are no business of a worker."""

# The values of fork_server's commands, repeated because importing it would load SymPy into the service.
_COMMAND_BYTES: Final = 9


class WorkerStartError(RuntimeError):
    """No worker could be started."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker's verdict on one answer."""

    status: Status
    normalised: str | None
    rule: str


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

    async def ask(self, request: dict[str, Any]) -> Reply:
        """Send one request and wait for its reply.

        Raises:
            BrokenFrame: if the worker ended, or answered something else.
            FrameTooLong: if the request does not fit into a frame.
        """
        try:
            self.writer.write(wire.encode(request))
            await self.writer.drain()
        except ConnectionError as error:
            raise wire.BrokenFrame("the worker closed its connection") from error
        reply = await wire.read(self.reader)
        if reply.get("id") != request["id"]:
            raise wire.BrokenFrame("the worker answered another request")
        try:
            answer = Reply(reply["status"], reply["normalised"], reply["rule"])
            self.cpu_seconds = float(reply["cpu_seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise wire.BrokenFrame("the worker's answer lacks a part") from error
        self.answers += 1
        return answer


class WorkerFactory:
    """Owns the fork server: starts it when first needed and again when it has ended."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._server: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._unanswered: list[float] = []
        """When workers were asked for since one last came, on the monotonic clock."""
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
            "run `python -c 'import areal_mesh.grading.workers.fork_server'` to see whether it can be loaded"
        )

    async def _spawn_once(self) -> Worker:
        async with self._lock:
            control = await self._running_server()
            self._unanswered.append(time.monotonic())
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
            worker = Worker(int(hello["process"]), bool(hello["filtered"]), reader, writer)
        except (KeyError, TypeError, ValueError) as error:
            writer.close()
            raise wire.BrokenFrame("the worker did not say who it is") from error
        except BaseException:
            writer.close()
            raise
        self._unanswered.clear()
        return worker

    async def _running_server(self) -> socket.socket:
        running = self._server is not None and self._server.returncode is None
        if running and self._control is not None and not self._is_silent():
            return self._control
        await self._stop_server()
        ours, theirs = socket.socketpair()
        # A server that hangs reads nothing: a command to it must fail, and not hold the event loop.
        ours.setblocking(False)
        try:
            self._server = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "areal_mesh.grading.workers.fork_server",
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

    def _is_silent(self) -> bool:
        """Whether the server hangs: callers may have given up each time before `spawn` would have noticed."""
        now = time.monotonic()
        if self._unanswered and now - self._unanswered[-1] > _START_SECONDS:
            self._unanswered.clear()  # nobody asked for long: nothing is known of it
        return len(self._unanswered) > _SILENT_SPAWNS and now - self._unanswered[0] > _START_SECONDS

    def kill(self, worker: Worker) -> None:
        """End a worker at once. The fork server does it, because only it knows that the process id is still its."""
        worker.writer.close()
        if self._control is not None:
            try:
                self._control.sendall(b"K" + worker.process.to_bytes(_COMMAND_BYTES - 1, "little"))
            except OSError:
                # The server has ended or hangs: its workers end with it.
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
        self._unanswered.clear()
        if self._server.returncode is None:
            self._server.kill()
        await self._server.wait()
        self._server = None
