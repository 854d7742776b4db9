"""Weights through a shared folder, for hosts that share a file system and no network that Gloo or NCCL could use.

    <folder>/<group id>/arrived-<rank>    a member has come
    <folder>/<group id>/<number>          one broadcast, whole: it is written aside and renamed; gone once all have it
    <folder>/<group id>/closed            rank 0 has left: what is not there will not come

A shared file system tells nobody of changes, so members look again and again, less and less often.
"""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from areal_mesh.runtime.settings.weights import DiskSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import SENDER_RANK, Group
from areal_mesh.weights.transport import Wire

_SCHEME = "file://"
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.002, 0.1
# A member may still be in the group before the one that is formed.
_GROUPS_KEPT = 2


@dataclass(frozen=True)
class Disk:
    """The transport through `settings.folder`."""

    settings: DiskSettings

    def host(self, address: str) -> "DiskMeeting":
        """See `Transport`."""
        return DiskMeeting(self.settings.folder)

    def join(self, group: Group, rank: int) -> "DiskWire":
        """See `Transport`."""
        return DiskWire(group, rank)

    def await_arrival(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        marks = [_folder(group) / f"arrived-{rank}" for rank in ranks]
        _wait(group, lambda: all(mark.exists() for mark in marks), f"members {list(ranks)} did not all arrive")

    def await_joined(self, group: Group, ranks: range) -> None:
        """See `Transport`."""
        _wait_for_all(group)


class DiskMeeting:
    """A folder for each group, the last few kept. Raises OSError where none can be made."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve()
        self._groups: deque[Path] = deque()

    def open(self, group_id: str, world_size: int, timeout_seconds: float) -> Group:
        """A new group that meets here."""
        folder = self._folder / group_id
        folder.mkdir()
        self._groups.append(folder)
        while len(self._groups) > _GROUPS_KEPT:
            shutil.rmtree(self._groups.popleft(), ignore_errors=True)
        return Group(group_id, f"{_SCHEME}{folder}", world_size, timeout_seconds)

    def close(self) -> None:
        """Delete what is kept. Idempotent."""
        while self._groups:
            shutil.rmtree(self._groups.popleft(), ignore_errors=True)


class DiskWire(Wire):
    """Buffers lie in host memory."""

    device = torch.device("cpu")

    def __init__(self, group: Group, rank: int) -> None:
        self._group, self._rank, self._number, self._oldest = group, rank, 0, 0
        self._path = _folder(group)
        try:
            (self._path / f"arrived-{rank}").touch()
        except OSError as error:
            raise TransferError(f"group {group.group_id!r}: {self._path}: {error.strerror}") from error
        _wait_for_all(group)

    def begin(self) -> None:
        for number in range(self._oldest, self._number):
            (self._path / str(number)).unlink(missing_ok=True)
        self._oldest = self._number

    def broadcast(self, buffer: torch.Tensor) -> None:
        aside, name = self._path / ".aside", self._path / str(self._number)
        try:
            aside.write_bytes(buffer.numpy().data)
            aside.rename(name)
        except OSError as error:
            raise TransferError(f"group {self._group.group_id!r}: {name}: {error.strerror}") from error
        self._number += 1

    def receive(self, buffer: torch.Tensor) -> None:
        name, closed = self._path / str(self._number), self._path / "closed"
        _wait(self._group, lambda: name.exists() or closed.exists(), f"broadcast {self._number} did not come")
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


def _folder(group: Group) -> Path:
    if not group.endpoint.startswith(_SCHEME):
        raise TransferError(
            f"group {group.group_id!r} meets at {group.endpoint}, which is no folder; set the same "
            "weights.transport at the learner and the generators"
        )
    return Path(group.endpoint.removeprefix(_SCHEME))


def _wait_for_all(group: Group) -> None:
    marks = [_folder(group) / f"arrived-{rank}" for rank in range(group.world_size)]
    _wait(group, lambda: all(mark.exists() for mark in marks), "not all members came")


def _wait(group: Group, reached: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + group.timeout_seconds, _FIRST_LOOK_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TransferError(f"group {group.group_id!r}: {what} in {group.timeout_seconds:g} s")
        time.sleep(pause)
        pause = min(2 * pause, _LAST_LOOK_SECONDS)
