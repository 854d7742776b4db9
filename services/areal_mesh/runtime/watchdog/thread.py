"""Looks once a second, on a thread of its own, whether the service still gets something done."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client import Counter

from areal_mesh.runtime.disk import is_full
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.settings import ServiceSettings
from areal_mesh.runtime.watchdog.open_calls import OpenCalls
from areal_mesh.runtime.watchdog.pace import Pace
from areal_mesh.runtime.watchdog.stacks import stacks
from areal_mesh.runtime.watchdog.stall import StallDetector

_LOG = structlog.get_logger("watchdog")
_STALLS = Counter("areal_mesh_watchdog_stalls_total", "Times that the service got nothing done for too long")
_LOOK_SECONDS = 1.0


@dataclass
class Heard:
    """What the service said last: its report, when, and how long a step of the run takes."""

    report: HeartbeatReport | None = None
    at: float = 0.0
    pace: Pace = field(default_factory=Pace)

    def hear(self, report: HeartbeatReport, run_version: int | None) -> None:
        """Takes in a report, and the version that the run is at, where it is known."""
        self.report, self.at = report, time.monotonic()
        if run_version is not None:
            self.pace.hear(run_version, self.at)

    def silent_seconds(self) -> float | None:
        """Since the service last got something done; None before its first report. Grows while the loop hangs."""
        if self.report is None:
            return None
        return self.report.seconds_since_progress + time.monotonic() - self.at


class Watchdog:
    """The thread; runs from `start` to `stop`.

    Args:
        file: where stacks are written; the last stall's take the place of those before.
    """

    def __init__(self, heard: Heard, calls: OpenCalls, section: ServiceSettings, file: Path) -> None:
        self._heard = heard
        self._calls = calls
        self._detector = StallDetector(section.stall_steps, section.stall_seconds)
        self._file = file
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to watch; `loop` is the service's."""
        self._thread = threading.Thread(target=self._watch, args=(loop,), name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            silent = self._heard.silent_seconds()
            if silent is not None and self._detector.look(silent, self._heard.pace.step_seconds):
                self._tell(silent, loop)

    def _tell(self, silent: float, loop: asyncio.AbstractEventLoop) -> None:
        _STALLS.inc()
        waits = self._calls.described() or ["nobody: no call of its own is open"]
        _LOG.warning(
            "no progress",
            seconds=round(silent, 1),
            limit_seconds=round(self._detector.limit(self._heard.pace.step_seconds), 1),
            waits_for=waits,
            stacks=str(self._file),
        )
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(stacks(loop), encoding="utf-8")
        except OSError as error:
            if not is_full(error):
                raise
            _LOG.warning("stacks are not written, for the disk is full", file=str(self._file))
