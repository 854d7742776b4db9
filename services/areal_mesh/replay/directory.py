"""The directory of a replay buffer: one process holds it at a time, and reads its two logs in their order."""

from pathlib import Path

from areal_mesh.replay.log import DurableLog
from areal_mesh.replay.segment_file import CorruptLog
from areal_mesh.replay.state import BufferState
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.locks import FileLock, LockHeld
from areal_mesh.runtime.settings.services import Durability

# Deleted segments leave some 50 bytes a group behind: small segments keep a small run's directory small.
_HISTORY_SEGMENT_BYTES = 1 << 20
# What outlives a segment takes some thirty bytes a group, and a group several hundred: room for any one segment's.
_HISTORY_SPARE_SHARE = 16
_SPARE_BYTES = 1 << 20


def lock_directory(directory: Path) -> FileLock:
    """Takes the directory for this process."""
    try:
        return FileLock(directory / "lock")
    except LockHeld as error:
        raise StartupError(
            f"another process ({error.holder}) holds {directory}; stop it, or give this run another directory"
        ) from error


def open_logs(
    directory: Path, state: BufferState, segment_bytes: int, durability: Durability, kept_bytes: int
) -> tuple[DurableLog, DurableLog]:
    """Reads the history and then the groups' log into `state`; gives back both."""
    spare = max(_SPARE_BYTES, segment_bytes // _HISTORY_SPARE_SHARE)
    # A segment is deleted for good: what outlives it has to be on the disk before that.
    kept: Durability = "none" if durability == "none" else "sync"
    history = DurableLog(directory / "history", _HISTORY_SEGMENT_BYTES, 1, state.recover_history, kept, spare)
    try:
        first = state.retired_segment + 1
        groups = DurableLog(
            directory / "groups", segment_bytes, first, state.recover_event, durability, _SPARE_BYTES, kept_bytes
        )
    except CorruptLog:
        history.close()
        raise
    return history, groups
