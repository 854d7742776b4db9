"""The ledger's room on its disk: a reserve taken at the start, and given back when a write finds the disk full.

With the reserve gone there is room for what is under way, the ends of groups and some steps; nothing new is leased.
Once the disk has room again the reserve is taken anew, and the run goes on.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from areal_mesh.runtime.disk import preallocate
from areal_mesh.runtime.errors import MeshError, resource_exhausted

_LOG = structlog.get_logger("controller")
_RESERVE_BYTES = 8 << 20
# Below this, what others write would soon leave the ledger none.
_LOW_BYTES = 4 << 20
# A write of the index beside the log fails with another code; then the disk itself tells.
_NO_BYTES = 1 << 16
_RETRY_SECONDS = 2.0
T = TypeVar("T")


class LedgerFull(MeshError):
    """The disk is full and the reserve is used up: nothing was written, and a later try may succeed."""

    def __init__(self, folder: Path) -> None:
        error = resource_exhausted(f"the disk of {folder} is full; free space there", _RETRY_SECONDS)
        super().__init__(error.code, error.message, error.details)


class LedgerRoom:
    """The room in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reserve = folder / "ledger.reserve"

    def write(self, work: Callable[[], T]) -> T:
        """Does a whole transaction; where the disk is full, once more with the reserve given back.

        Raises:
            LedgerFull: that was not enough.
        """
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not self._no_room(error):
                raise
        if self.give_back():
            _LOG.warning("the disk is full; the ledger's reserve is given back", folder=str(self._folder))
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not self._no_room(error):
                raise
            raise LedgerFull(self._folder) from error

    def check(self) -> str:
        """Takes the reserve where there is room for it; returns what is wrong with the disk, empty for nothing."""
        free = shutil.disk_usage(self._folder).free
        if not self._reserve.exists() and free >= _RESERVE_BYTES + _LOW_BYTES:
            descriptor = preallocate(self._reserve, _RESERVE_BYTES)
            if descriptor is not None:
                os.close(descriptor)
        free = shutil.disk_usage(self._folder).free
        if self._reserve.exists() and free >= _LOW_BYTES:
            return ""
        return (
            f"the disk of {self._folder} is full, or nearly ({free} bytes free); free space there: at "
            f"{_RESERVE_BYTES + _LOW_BYTES} bytes the run goes on"
        )

    def give_back(self) -> bool:
        """Gives the reserve back to the disk; returns whether there was one. At a run's end it has done its duty."""
        held = self._reserve.exists()
        if held:
            self._reserve.unlink()
        return held

    def _no_room(self, error: sqlite3.OperationalError) -> bool:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return True
        empty = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        return empty and shutil.disk_usage(self._folder).free < _NO_BYTES
