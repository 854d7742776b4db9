"""A meeting in a folder: what the transports share whose members have a file system in common.

    <folder>/<group id>/arrived-<rank>    a member has come
    <folder>/<group id>/joined            all members are in, where a transport says so

A file system tells nobody of changes, so members look again and again, less and less often.
"""

import shutil
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group

_SCHEME = "file://"
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.002, 0.1
# A member may still be in the group before the one that is formed.
_GROUPS_KEPT = 2


class FolderMeeting:
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


def folder_of(group: Group) -> Path:
    """Where the group meets. Raises TransferError where that is no folder."""
    if not group.endpoint.startswith(_SCHEME):
        raise TransferError(
            f"group {group.group_id!r} meets at {group.endpoint}, which is no folder; set the same "
            "weights.transport at the learner and the generators"
        )
    return Path(group.endpoint.removeprefix(_SCHEME))


def arrive(group: Group, rank: int) -> Path:
    """Leave this member's mark; returns the group's folder. Raises TransferError."""
    folder = folder_of(group)
    leave(group, f"arrived-{rank}")
    return folder


def leave(group: Group, mark: str) -> None:
    """Leave a mark in the group's folder. Raises TransferError."""
    folder = folder_of(group)
    try:
        (folder / mark).touch()
    except OSError as error:
        raise TransferError(f"group {group.group_id!r}: {folder}: {error.strerror}") from error


def wait_for_members(group: Group, ranks: range) -> None:
    """Wait until these members have come. Raises TransferError after the group's timeout."""
    marks = [folder_of(group) / f"arrived-{rank}" for rank in ranks]
    all_come = "not all members came" if len(ranks) == group.world_size else f"members {list(ranks)} did not all arrive"
    wait_until(group, lambda: all(mark.exists() for mark in marks), all_come)


def wait_until(group: Group, reached: Callable[[], bool], what: str) -> None:
    """Look until `reached`. Raises TransferError after the group's timeout, which says `what` was not so."""
    deadline, pause = time.monotonic() + group.timeout_seconds, _FIRST_LOOK_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TransferError(f"group {group.group_id!r}: {what} in {group.timeout_seconds:g} s")
        time.sleep(pause)
        pause = min(2 * pause, _LAST_LOOK_SECONDS)
