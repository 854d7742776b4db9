"""Logs: one JSON line an event in `logs/<service>.jsonl`, and short lines for a person on standard error.

A full disk loses lines, which is said once there is room again, and never ends a service; nor does a terminal or a pipe
that nobody reads any more.
"""

import errno
import io
import logging
import os
import stat
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from areal_mesh.runtime.disk import is_full


class LossyStream(io.TextIOBase):
    """Text to a descriptor, unbuffered; what a full disk does not take is lost and counted, what nobody reads lost."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lost = 0

    def write(self, text: str) -> int:
        """Writes the text, or none or part of it where the disk is full."""
        note = f"({self._lost} writes were lost: the disk was full)\n" if self._lost else ""
        if self._written((note + text).encode(errors="backslashreplace")):
            self._lost = 0
        else:
            self._lost += 1
        return len(text)

    def _written(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                if self._unread(error):
                    return True
                if not is_full(error):
                    raise
                return False
        return True

    def _unread(self, error: OSError) -> bool:
        """Whether an error says that a pipe or a terminal is closed at its other end."""
        if error.errno == errno.EPIPE:
            return True
        return error.errno == errno.EIO and not stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether a person reads along."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """It is."""
        return True


class _Tee:
    """A logger that writes each event to a file as JSON and to standard error for a person.

    `common`: fields that every event of the process has, and that a person who reads its log is not told each time.
    """

    def __init__(self, file: LossyStream | None, common: Collection[str]) -> None:
        self._file = file
        self._common = common
        self._json = structlog.processors.JSONRenderer(default=str)
        self._plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> str:
        if self._file is not None:
            self._file.write(str(self._json(logger, name, dict(event))) + "\n")
        shown = {key: value for key, value in event.items() if key not in self._common}
        return str(self._plain(logger, name, shown))


def configure_logging(service_id: str, folder: Path | None, **common: str) -> None:
    """Sets logging up for this process; with `folder`, events also go to `folder/<service_id>.jsonl`.

    `common`: further fields of every event there, such as its run and role.

    Standard error goes through a `LossyStream` from now on: the launcher keeps it in a file on the same disk.
    """
    sys.stderr = cast(TextIO, LossyStream(sys.stderr.fileno()))
    file = None if folder is None else _event_file(folder / f"{service_id}.jsonl")
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _Tee(file, common),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service_id, **common)


def _event_file(path: Path) -> LossyStream | None:
    """The file of events; None on a disk that is too full to make it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return LossyStream(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    except OSError as error:
        if not is_full(error):
            raise
        print(f"{path}: not written, for the disk is full", file=sys.stderr)
        return None


def note_phase(now: str) -> None:
    """Says what a service does while it starts, in a few words: a launcher shows the last of them until it serves."""
    structlog.get_logger("service").info("phase", now=now)
