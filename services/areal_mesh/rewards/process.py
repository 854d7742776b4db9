"""One reward function in a process of its own: asked within a deadline, killed and started anew when it is late."""

import asyncio
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass, field

from areal_mesh.rewards.frames import LONGEST_BYTES, BrokenFrame, read_frame, write_frame
from areal_mesh.rewards.target import Target
from areal_mesh.rewards.values import Group, RewardFailed, RewardUnusable

_LOAD_SECONDS = 120.0
"""A function's module may load a model."""
_GRACE_SECONDS = 1.0
"""An asynchronous function is ended by its own process at the deadline; this much later the process is killed."""
_STDERR = 2

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class _Life:
    """One life of the process."""

    process: asyncio.subprocess.Process
    connections: list[Connection]
    of_group: bool
    free: asyncio.Queue[Connection] = field(default_factory=asyncio.Queue)
    """Connections that no request uses: as many as groups may be asked about at once."""
    ended: bool = False
    """Given up: whoever waits for a connection takes one of the next life."""

    @property
    def alive(self) -> bool:
        return self.process.returncode is None and not self.ended


class RewardProcess:
    """The process of one reward. `start` before, `close` after."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._life: _Life | None = None
        self._starting = asyncio.Lock()

    @property
    def of_group(self) -> bool:
        """Whether the function compares the responses of a group, and so needs all of them. Known after `start`."""
        return self._life is not None and self._life.of_group

    async def start(self) -> None:
        """Loads the function. Raises RewardUnusable."""
        await self._living()

    async def ask(self, group: Group) -> list[float]:
        """A number for each response, times the weight.

        Raises:
            RewardFailed: the function raised, was late, or returned something else.
        """
        life, connection = await self._connection()
        answered = False
        try:
            async with asyncio.timeout(self.target.settings.seconds + _GRACE_SECONDS):
                reader, writer = connection
                await write_frame(writer, group.as_message())
                answer = await read_frame(reader)
            answered = True
        except TimeoutError as error:
            raise self._failed(f"no answer within {self.target.settings.seconds:g} s", "late") from error
        except BrokenFrame as error:
            raise self._failed(f"its process ended ({await self._exit(life)})", "its process ended") from error
        finally:
            if answered:
                life.free.put_nowait(connection)
            else:
                self._end(life)
        if "error" in answer:
            raise self._failed(answer["error"], answer["cause"])
        return [self.target.settings.weight * value for value in answer["rewards"]]

    async def _connection(self) -> tuple[_Life, Connection]:
        """A connection that is free, of a process that lives. Raises RewardFailed."""
        while True:
            try:
                life = await self._living()
            except RewardUnusable as error:
                raise self._failed(str(error), "cannot be loaded any more") from error
            connection = await life.free.get()
            if life.alive:
                return life, connection
            life.free.put_nowait(connection)

    async def close(self) -> None:
        """Ends the process."""
        life, self._life = self._life, None
        if life is not None:
            self._end(life)
            await life.process.wait()

    def _failed(self, message: str, cause: str) -> RewardFailed:
        return RewardFailed(f"reward {self.target.term}: {message}", f"reward {self.target.term}: {cause}")

    async def _living(self) -> _Life:
        async with self._starting:
            if self._life is None or not self._life.alive:
                self._life = await self._started()
            return self._life

    async def _started(self) -> _Life:
        """A new life, once its function is loaded. Raises RewardUnusable."""
        life = await self._launched()
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                hello = await read_frame(life.connections[0][0])
        except TimeoutError as error:
            self._end(life)
            raise RewardUnusable(f"{self.target.place}: was not loaded within {_LOAD_SECONDS:g} s") from error
        except BrokenFrame as error:
            how = await self._exit(life)
            self._end(life)
            raise RewardUnusable(f"{self.target.place}: its process ended ({how})") from error
        except BaseException:
            self._end(life)
            raise
        if "error" in hello:
            self._end(life)
            await life.process.wait()
            raise RewardUnusable(hello["error"])
        life.of_group = hello["of_group"]
        for connection in life.connections if hello["is_async"] else life.connections[:1]:
            life.free.put_nowait(connection)
        return life

    async def _launched(self) -> _Life:
        """The process, and both ends of its connections."""
        pairs = [socket.socketpair() for _ in range(self.target.settings.at_once)]
        theirs = [theirs for _, theirs in pairs]
        config = {
            "function": self.target.place,
            "options": dict(self.target.arguments),
            "seconds": self.target.settings.seconds,
            "parent": os.getpid(),
        }
        module = ("-m", "areal_mesh.rewards.worker")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(*module, json.dumps(config), *(str(end.fileno()) for end in theirs)),
                stdin=asyncio.subprocess.DEVNULL,
                # What the function prints is read where the service's log is.
                stdout=_STDERR,
                pass_fds=[end.fileno() for end in theirs],
            )
        finally:
            for end in theirs:
                end.close()
        connections = [await asyncio.open_unix_connection(sock=ours, limit=LONGEST_BYTES) for ours, _ in pairs]
        return _Life(process, connections, of_group=False)

    @staticmethod
    async def _exit(life: _Life) -> str:
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                code = await life.process.wait()
        except TimeoutError:
            return "it closed its connection"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @staticmethod
    def _end(life: _Life) -> None:
        life.ended = True
        for _, writer in life.connections:
            writer.close()
        if life.process.returncode is None:
            life.process.kill()
        # Wakes whoever waits for a connection, one after the other.
        life.free.put_nowait(life.connections[0])
