"""Locks that one process at a time holds; the system gives them back when it ends, however it does."""

import fcntl
import os
from pathlib import Path

from areal_mesh.runtime.disk import is_full


class LockHeld(Exception):
    """Another process holds the lock."""

    def __init__(self, path: Path, holder: str) -> None:
        self.path = path
        self.holder = holder
        """Its process number, or `unknown`."""
        super().__init__(f"{path}: process {holder} holds it")


class FileLock:
    """An exclusive lock on a file, taken at once or not at all; the file holds the process number of its holder.

    Raises:
        LockHeld: another process has it.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise LockHeld(path, holder) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            # The number is for people; the lock holds without it.
            if not is_full(error):
                raise

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)
