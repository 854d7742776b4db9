"""Through memory that learner and engines of one host share: no network, and one copy for all of them.

Members meet in a folder and at a socket in it (`<folder>/<group id>/socket`), which tells each of them what lies where,
and of a member's end at once. An engine loads a bucket from the memory in which the learner's snapshot lies; what lies
elsewhere (on a host with GPUs, whose snapshots are pinned) the learner copies into shared memory once, for all members.
A member says that it is through, and the learner that it had not given the publish up before: the memory may be written
anew only when all have said so, or the publish is given up, and what a member then has loaded counts for nothing.
"""

import os
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import torch

from areal_mesh.runtime.settings.weights import IpcSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import SENDER_RANK, Group
from areal_mesh.weights.shared_memory import SharedMemory, found_in, mapped
from areal_mesh.weights.transport import Wire
from areal_mesh.weights.transports.folder import (
    FolderMeeting,
    arrive,
    folder_of,
    leave,
    wait_for_members,
    wait_until,
)

_ALIGNMENT = 64
_MESSAGE = struct.Struct("<QQQQ")
"""Number of the memory and its bytes, where the bucket begins in it, and its bytes; with a file descriptor where the
memory is new to the group."""
_THROUGH = b"t"
_SOCKET, _JOINED = "socket", "joined"


@dataclass(frozen=True)
class Ipc:
    """The transport within one host; members meet in `settings.folder`."""

    settings: IpcSettings

    def host(self, address: str) -> FolderMeeting:
        """See `Transport`."""
        return FolderMeeting(self.settings.folder)

    def join(self, group: Group, rank: int) -> Wire:
        """See `Transport`."""
        return IpcSender(group) if rank == SENDER_RANK else IpcReceiver(group, rank)

    def await_arrival(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        wait_for_members(group, ranks)

    def await_joined(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        joined = folder_of(group) / _JOINED
        wait_until(group, joined.exists, "not all members joined")


class IpcSender(Wire):
    """The learner's end: a connection to each member, and memory for what does not lie in such already."""

    device = torch.device("cpu")

    def __init__(self, group: Group) -> None:
        self._group = group
        self._memory, self._end = SharedMemory(_ALIGNMENT), 0
        self._known: set[int] = set()
        """Numbers of the memory that the members have mapped."""
        self._wanted = 0
        """Bytes of the publish, with room between buckets."""
        folder = folder_of(group)
        with _explained(group, "joining"), socket.socket(socket.AF_UNIX) as listening, _short(folder) as short:
            listening.bind(f"{short}/.{_SOCKET}")
            listening.listen(group.world_size)
            listening.settimeout(group.timeout_seconds)
            # Who sees it can connect, and may: the weights are the user's own.
            os.chmod(f"{short}/.{_SOCKET}", 0o600)
            os.rename(folder / f".{_SOCKET}", folder / _SOCKET)
            arrive(group, SENDER_RANK)
            self._members = [listening.accept()[0] for _ in range(1, group.world_size)]
        for member in self._members:
            member.settimeout(group.timeout_seconds)
        leave(group, _JOINED)

    def begin(self, num_bytes: int) -> None:
        self._end, self._wanted = 0, num_bytes + num_bytes // _ALIGNMENT

    def broadcast(self, buffer: torch.Tensor) -> int:
        memory, begin = found_in(buffer) or self._copied(buffer)
        message = _MESSAGE.pack(memory.number, memory.tensor.numel(), begin, buffer.numel())
        new = [] if memory.number in self._known else [memory.descriptor]
        with _explained(self._group, "broadcasting to"):
            for member in self._members:
                socket.send_fds(member, [message], new)
        self._known.add(memory.number)
        return buffer.numel()

    def finish(self) -> None:
        ends = time.monotonic() + self._group.timeout_seconds
        with _explained(self._group, "waiting for the members of"), selectors.PollSelector() as waiting:
            for member in self._members:
                waiting.register(member, selectors.EVENT_READ)
            while waiting.get_map():
                for key, _ in waiting.select(max(0.0, ends - time.monotonic())) or _late():
                    member = cast(socket.socket, key.fileobj)
                    if member.recv(len(_THROUGH)) != _THROUGH:
                        raise ConnectionError("one has left")
                    member.sendall(_THROUGH)
                    waiting.unregister(member)

    def close(self) -> None:
        for member in self._members:
            _end(member)

    def _copied(self, buffer: torch.Tensor) -> tuple[SharedMemory, int]:
        """What does not lie in shared memory yet, in such that has room for the whole publish."""
        begin = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._end = begin + buffer.numel()
        if self._end > self._memory.tensor.numel():
            # What was sent of this publish stays in the memory before, as long as a member looks at it.
            self._memory = SharedMemory(max(self._end, self._wanted))
        self._memory.tensor[begin : self._end].copy_(buffer)
        return self._memory, begin


class IpcReceiver(Wire):
    """An engine worker's end."""

    device = torch.device("cpu")

    def __init__(self, group: Group, rank: int) -> None:
        self._group = group
        self._memory: dict[int, torch.Tensor] = {}
        folder = arrive(group, rank)
        wait_until(group, (folder / _SOCKET).exists, "the learner did not come")
        self._learner = socket.socket(socket.AF_UNIX)
        self._learner.settimeout(group.timeout_seconds)
        with _explained(group, "joining"), _short(folder) as short:
            self._learner.connect(f"{short}/{_SOCKET}")
        wait_until(group, (folder / _JOINED).exists, "not all members joined")

    def receive(self, buffer: torch.Tensor) -> None:
        buffer.copy_(self.lend(buffer.numel()))

    def lend(self, num_bytes: int) -> torch.Tensor:
        with _explained(self._group, "receiving from"):
            message, descriptors, _, _ = socket.recv_fds(self._learner, _MESSAGE.size, 1)
            if len(message) < _MESSAGE.size:
                message += self._learner.recv(_MESSAGE.size - len(message), socket.MSG_WAITALL)
            if len(message) < _MESSAGE.size:
                raise ConnectionError("it has left")
            number, size, begin, length = _MESSAGE.unpack(message)
            for descriptor in descriptors:
                self._memory[number] = mapped(descriptor, size)
                os.close(descriptor)
            if length != num_bytes:
                raise TransferError(f"group {self._group.group_id!r}: a bucket has not the bytes of the manifest")
            return self._memory[number][begin : begin + length]

    def release(self) -> None:
        with _explained(self._group, "ending the publish in"):
            self._learner.sendall(_THROUGH)
            if self._learner.recv(len(_THROUGH)) != _THROUGH:
                raise ConnectionError("the learner gave it up, and may have written anew what was being loaded")

    def close(self) -> None:
        _end(self._learner)


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A name of the folder for a socket's address, which may have 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@contextmanager
def _explained(group: Group, doing: str) -> Iterator[None]:
    """A member that left or is late is an OSError; say in which group."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        raise TransferError(f"{doing} group {group.group_id!r} of {group.world_size} failed: {said}") from error


def _late() -> NoReturn:
    raise TimeoutError("timed out")


def _end(peer: socket.socket) -> None:
    """Close it, and wake a thread that is waiting for it."""
    with suppress(OSError):  # the peer has gone
        peer.shutdown(socket.SHUT_RDWR)
    peer.close()
