"""Through memory that learner and engines of one host share: no network, and one copy for all of them.

Members meet in a folder and at a socket in it (`<folder>/<group id>/socket`), which tells each of them what lies where,
and of a member's end at once. The memory has room for one version and no name: it is handed over as a file descriptor,
and is gone with the last process that maps it. The learner copies a bucket into it once, for all members; an engine
loads it from there. It is written anew with the next publish, when every member has loaded the one before.

It lies in host memory also where the engines are on GPUs: the learner's snapshot lies there, too.
"""

import mmap
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from areal_mesh.runtime.settings.weights import IpcSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import SENDER_RANK, Group
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
_MESSAGE = struct.Struct("<QQQ")
"""Bytes of the memory, where the bucket begins in it, and its bytes; with a file descriptor where the memory is new."""
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
    """The learner's end: a connection to each member, and the memory."""

    device = torch.device("cpu")

    def __init__(self, group: Group) -> None:
        self._group = group
        self._memory, self._end = torch.empty(0, dtype=torch.uint8), 0
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
        length, begin = buffer.numel(), -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._end = begin + length
        with _explained(self._group, "broadcasting to"), self._room(self._end) as descriptors:
            self._memory[begin : self._end].copy_(buffer)
            message = [_MESSAGE.pack(self._memory.numel(), begin, length)]
            for member in self._members:
                socket.send_fds(member, message, descriptors)
        return length

    def close(self) -> None:
        for member in self._members:
            _end(member)

    @contextmanager
    def _room(self, num_bytes: int) -> Iterator[list[int]]:
        """Memory of so many bytes at least; yields its descriptor where it is new to the members."""
        if num_bytes <= self._memory.numel():
            yield []
            return
        # What was sent of this publish stays in the memory before, as long as a member looks at it.
        size = max(num_bytes, self._wanted)
        descriptor = os.memfd_create("areal-mesh-weights", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            self._memory = _mapped(descriptor, size)
            yield [descriptor]
        finally:
            os.close(descriptor)


class IpcReceiver(Wire):
    """An engine worker's end."""

    device = torch.device("cpu")

    def __init__(self, group: Group, rank: int) -> None:
        self._group = group
        self._memory = torch.empty(0, dtype=torch.uint8)
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
            size, begin, length = _MESSAGE.unpack(message)
            for descriptor in descriptors:
                self._memory = _mapped(descriptor, size)
                os.close(descriptor)
            if length != num_bytes:
                raise TransferError(f"group {self._group.group_id!r}: a bucket has not the bytes of the manifest")
            return self._memory[begin : begin + length]

    def close(self) -> None:
        _end(self._learner)


def _mapped(descriptor: int, length: int) -> torch.Tensor:
    """The shared memory as a tensor, which keeps the mapping."""
    return torch.frombuffer(mmap.mmap(descriptor, length), dtype=torch.uint8)


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


def _end(peer: socket.socket) -> None:
    """Close it, and wake a thread that is waiting for it."""
    with suppress(OSError):  # the peer has gone
        peer.shutdown(socket.SHUT_RDWR)
    peer.close()
