"""Weights through a shared folder, for hosts that share a file system and no network that Gloo or NCCL could use.

Beside the marks of a meeting in a folder:

    <folder>/<group id>/<number>          one broadcast, whole: it is written aside and renamed; gone once all have it
    <folder>/<group id>/closed            rank 0 has left: what is not there will not come
"""

import os
from dataclasses import dataclass

import torch

from areal_mesh.runtime.settings.weights import DiskSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import SENDER_RANK, Group
from areal_mesh.weights.transport import Wire
from areal_mesh.weights.transports.folder import FolderMeeting, arrive, wait_for_members, wait_until


@dataclass(frozen=True)
class Disk:
    """The transport through `settings.folder`."""

    settings: DiskSettings

    def host(self, address: str) -> FolderMeeting:
        """See `Transport`."""
        return FolderMeeting(self.settings.folder)

    def join(self, group: Group, rank: int) -> "DiskWire":
        """See `Transport`."""
        return DiskWire(group, rank)

    def await_arrival(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        wait_for_members(group, ranks)

    def await_joined(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        wait_for_members(group, range(group.world_size))


class DiskWire(Wire):
    """Buffers lie in host memory."""

    device = torch.device("cpu")

    def __init__(self, group: Group, rank: int) -> None:
        self._group, self._rank, self._number, self._oldest = group, rank, 0, 0
        self._path = arrive(group, rank)
        wait_for_members(group, range(group.world_size))

    def begin(self, num_bytes: int) -> None:
        for number in range(self._oldest, self._number):
            (self._path / str(number)).unlink(missing_ok=True)
        self._oldest = self._number

    def broadcast(self, buffer: torch.Tensor) -> int:
        aside, name = self._path / ".aside", self._path / str(self._number)
        try:
            aside.write_bytes(buffer.numpy().data)
            aside.rename(name)
        except OSError as error:
            raise TransferError(f"group {self._group.group_id!r}: {name}: {error.strerror}") from error
        self._number += 1
        return buffer.numel()

    def receive(self, buffer: torch.Tensor) -> None:
        name, closed = self._path / str(self._number), self._path / "closed"
        wait_until(self._group, lambda: name.exists() or closed.exists(), f"broadcast {self._number} did not come")
        if not name.exists():
            raise TransferError(f"group {self._group.group_id!r}: the learner left before broadcast {name.name}")
        if os.stat(name).st_size != buffer.numel():
            raise TransferError(f"group {self._group.group_id!r}: {name} has not the bytes of the manifest")
        with name.open("rb") as file:
            file.readinto(buffer.numpy().data)
        self._number += 1

    def close(self) -> None:
        if self._rank == SENDER_RANK and self._path.exists():
            (self._path / "closed").touch()
