"""What stands before the key-value store of a group where strangers may reach it.

The store of `torch.distributed` asks nobody who he is and lists its keys to whoever connects. So beyond loopback it
listens on loopback alone, and this guard on the learner's address: it gives a caller 32 random bytes, expects their
HMAC under the group's token, and only then connects the two. The token is drawn for each group, goes to its members
with the authenticated call that names the group, never over this connection, and lets nobody in once the group has had
its time to meet. A member has a relay of its own, which answers for it and listens on its machine's loopback.
"""

import asyncio
import hmac
import secrets
import socket
import threading
import time
from collections import Counter
from concurrent.futures import Future

import structlog

from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.waiting import wait_until

TOKEN_BYTES = 16
_NONCE_BYTES = 32
_PROOF_BYTES = 32
_HANDSHAKE_SECONDS = 5.0
_MOST_STRANGERS = 1024
_MOST_STRANGERS_OF_A_HOST = 32
"""Connections that have not proved themselves yet; further ones are closed at once. One host keeps no other out."""
_IDLE_SECONDS = 2.0
"""A relay without a connection for this long ends: its store's client is gone."""
_CHUNK_BYTES = 65_536
_BROKEN = (OSError, asyncio.IncompleteReadError, TimeoutError)
_LOG = structlog.get_logger("publishing")


def new_token() -> str:
    """A token for one group."""
    return secrets.token_hex(TOKEN_BYTES)


class StoreGuard:
    """Serves on a thread of its own from when it is made to `close`. Lets nobody in before `admit`.

    Args:
        listener: where strangers come; taken over, and closed at the end.
        store_port: where the store listens on loopback.
    """

    def __init__(self, listener: socket.socket, store_port: int) -> None:
        self._listener = listener
        self._store_port = store_port
        self._admitted: tuple[bytes, float] = (b"", 0.0)
        self._strangers: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="store-guard", daemon=True)
        self._thread.start()

    def admit(self, token: str, seconds: float) -> None:
        """Lets those in who know `token`, for so long, and nobody with an earlier one."""
        self._admitted = (token.encode(), time.monotonic() + seconds)

    def close(self) -> None:
        """Stops, and ends every connection. Idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(timeout=_HANDSHAKE_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connected, sock=self._listener):
            await self._closing.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._proved(reader, writer):
                await _join_ends(reader, writer, "127.0.0.1", self._store_port)
        except _BROKEN:
            pass  # whoever it was is gone
        finally:
            writer.close()

    async def _proved(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        token, until = self._admitted
        peer = str(writer.get_extra_info("peername")[0])
        crowd = self._strangers[peer] >= _MOST_STRANGERS_OF_A_HOST or self._strangers.total() >= _MOST_STRANGERS
        if crowd or time.monotonic() > until:
            _LOG.warning("a connection to the weights' meeting was refused: a crowd, or no group meets", peer=peer)
            return False
        self._strangers[peer] += 1
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                nonce = secrets.token_bytes(_NONCE_BYTES)
                writer.write(nonce)
                proved = hmac.compare_digest(await reader.readexactly(_PROOF_BYTES), _proof(token, nonce))
        finally:
            self._strangers -= Counter({peer: 1})
        if not proved:
            _LOG.warning("a connection to the weights' meeting was refused: it does not know the token", peer=peer)
        return proved


def relay_to(guard: Address, token: str, seconds: float) -> Address:
    """Starts a relay to a guarded store; returns where the store's client finds it, on loopback.

    The relay serves on a thread of its own as long as there is a connection, and `seconds` for the first.

    Raises:
        OSError: it could not listen.
    """
    ready: Future[int] = Future()
    relay = _Relay(guard, token, seconds, ready)
    threading.Thread(target=relay.run, name="store-relay", daemon=True).start()
    return Address("127.0.0.1", ready.result(timeout=_HANDSHAKE_SECONDS))


class _Relay:
    def __init__(self, guard: Address, token: str, seconds: float, ready: "Future[int]") -> None:
        self._guard = guard
        self._token = token.encode()
        self._until = time.monotonic() + seconds
        self._ready = ready
        self._connections = 0
        self._changed = asyncio.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        try:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        except OSError as error:
            self._ready.set_exception(error)
            return
        async with server:
            self._ready.set_result(server.sockets[0].getsockname()[1])
            while self._connections or time.monotonic() < self._until:
                self._changed.clear()
                left = self._until - time.monotonic()
                await wait_until(self._changed, max(left, _IDLE_SECONDS))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            await _join_ends(reader, writer, self._guard.host, self._guard.port, self._token)
        except _BROKEN:
            pass  # the store's client sees its connection end, and says what that means
        finally:
            self._connections -= 1
            self._until = time.monotonic() + _IDLE_SECONDS
            self._changed.set()
            writer.close()


async def _join_ends(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, token: bytes = b""
) -> None:
    """Connects a connection to another, which is first shown a token where there is one, until either ends."""
    async with asyncio.timeout(_HANDSHAKE_SECONDS):
        far_reader, far_writer = await asyncio.open_connection(host, port)
        if token:
            far_writer.write(_proof(token, await far_reader.readexactly(_NONCE_BYTES)))
    try:
        async with asyncio.TaskGroup() as tasks:
            pumps = {tasks.create_task(_pump(reader, far_writer)), tasks.create_task(_pump(far_reader, writer))}
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
    finally:
        far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        return  # reset: the end, as far as the other side is concerned


def _proof(token: bytes, nonce: bytes) -> bytes:
    return hmac.digest(token, nonce, "sha256")
