"""Through memory that learner and engines of one host share: no network, and one copy at each end.

Members meet in a folder and at a socket in it (`<folder>/<group id>/socket`), which tells each of them what lies where,
and of a member's end at once. The memory is a ring of a few buckets without a name: it is handed over as a file
descriptor, and is gone with the last process that maps it. A bucket's place is written anew once every member has
copied the one before out of it.

The ring lies in host memory also where the engines are on GPUs: the learner's snapshot lies there, too.
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

_PLACES = 4
"""Buckets in the ring: so far may the learner be ahead of the slowest engine. A few stay in the processor's cache."""
_MESSAGE = struct.Struct("<QQ")
"""Bytes of the bucket, and of a place; with a file descriptor where the memory is new."""
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
    """The learner's end: a connection to each member, and the ring."""

    device = torch.device("cpu")

    def __init__(self, group: Group) -> None:
        self._group = group
        self._ring, self._place_bytes = torch.empty(0, dtype=torch.uint8), 0
        self._sent, self._copied = 0, [0] * (group.world_size - 1)
        folder = folder_of(group)
        with _explained(group, "joining"), socket.socket(socket.AF_UNIX) as listening, _short(folder) as short:
            listening.bind(f"{short}/.{_SOCKET}")
            listening.listen(group.world_size)
            listening.settimeout(group.timeout_seconds)
            # Who sees it can connect, and may: the weights are the user's own.
            os.chmod(f"{short}/.{_SOCKET}", 0o600)
            os.rename(folder / f".{_SOCKET}", folder / _SOCKET)
            arrive(group, SENDER_RANK)
            self._members = [listening.accept()[0] for _ in self._copied]
        for member in self._members:
            member.settimeout(group.timeout_seconds)
        leave(group, _JOINED)

    def broadcast(self, buffer: torch.Tensor) -> int:
        length = buffer.numel()
        with _explained(self._group, "broadcasting to"):
            descriptor = self._grow(length) if length > self._place_bytes else None
            # The place is free once everybody has copied what lay in it.
            self._await_copies(self._sent + 1 - _PLACES)
            begin = self._sent % _PLACES * self._place_bytes
            self._ring[begin : begin + length].copy_(buffer)
            message = [_MESSAGE.pack(length, self._place_bytes)]
            try:
                for member in self._members:
                    socket.send_fds(member, message, [] if descriptor is None else [descriptor])
            finally:
                if descriptor is not None:
                    os.close(descriptor)
            self._sent += 1
        return length

    def receive(self, buffer: torch.Tensor) -> None:
        """See `Wire`."""
        raise TransferError("the learner's end receives nothing")

    def close(self) -> None:
        for member in self._members:
            _end(member)

    def _grow(self, length: int) -> int:
        """A ring of places of `length` bytes, as a file descriptor to hand on."""
        self._await_copies(self._sent)
        self._sent, self._copied = 0, [0] * len(self._copied)
        descriptor = os.memfd_create("areal-mesh-weights", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _PLACES * length)
        self._ring, self._place_bytes = _mapped(descriptor, _PLACES * length), length
        return descriptor

    def _await_copies(self, number: int) -> None:
        """Wait until every member has copied the first `number` buckets out of the ring."""
        for index, member in enumerate(self._members):
            while self._copied[index] < number:
                self._copied[index] += len(_received(member, 1))


class IpcReceiver(Wire):
    """An engine worker's end."""

    device = torch.device("cpu")

    def __init__(self, group: Group, rank: int) -> None:
        self._group = group
        self._ring, self._number = torch.empty(0, dtype=torch.uint8), 0
        folder = arrive(group, rank)
        wait_until(group, (folder / _SOCKET).exists, "the learner did not come")
        self._learner = socket.socket(socket.AF_UNIX)
        self._learner.settimeout(group.timeout_seconds)
        with _explained(group, "joining"), _short(folder) as short:
            self._learner.connect(f"{short}/{_SOCKET}")
        wait_until(group, (folder / _JOINED).exists, "not all members joined")

    def broadcast(self, buffer: torch.Tensor) -> int:
        """See `Wire`."""
        raise TransferError("an engine's end sends nothing")

    def receive(self, buffer: torch.Tensor) -> None:
        with _explained(self._group, "receiving from"):
            message, descriptors, _, _ = socket.recv_fds(self._learner, _MESSAGE.size, 1)
            if len(message) < _MESSAGE.size:
                message += _received(self._learner, _MESSAGE.size - len(message), whole=True)
            length, place_bytes = _MESSAGE.unpack(message)
            for descriptor in descriptors:
                self._ring, self._number = _mapped(descriptor, _PLACES * place_bytes), 0
                os.close(descriptor)
            if length != buffer.numel():
                raise TransferError(f"group {self._group.group_id!r}: a bucket has not the bytes of the manifest")
            begin = self._number % _PLACES * place_bytes
            buffer.copy_(self._ring[begin : begin + length])
            self._number += 1
            self._learner.sendall(b"\x01")

    def close(self) -> None:
        _end(self._learner)


def _mapped(descriptor: int, length: int) -> torch.Tensor:
    """The shared memory as a tensor, which keeps the mapping."""
    return torch.frombuffer(mmap.mmap(descriptor, length), dtype=torch.uint8)


def _received(peer: socket.socket, length: int, whole: bool = False) -> bytes:
    """What came, at least one byte of `length` or all of them. Raises ConnectionError where the peer has left."""
    data = peer.recv(length, socket.MSG_WAITALL if whole else 0)
    if len(data) < (length if whole else 1):
        raise ConnectionError("it has left")
    return data


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
