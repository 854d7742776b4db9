"""Logs: one JSON line an event in `logs/<service>.jsonl`, and short lines for a person on standard error."""

import logging
import sys
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger


class _Tee:
    """A logger that writes each event to a file as JSON and to standard error for a person."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._json = structlog.processors.JSONRenderer(default=str)
        self._plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> str:
        if self._file is not None:
            self._file.write(str(self._json(logger, name, dict(event))) + "\n")
            self._file.flush()
        return str(self._plain(logger, name, event))


def configure_logging(service_id: str, folder: Path | None) -> None:
    """Sets logging up for this process; with `folder`, events also go to `folder/<service_id>.jsonl`."""
    file: TextIO | None = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"{service_id}.jsonl").open("a")
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _Tee(file),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service_id)
