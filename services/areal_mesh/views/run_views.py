"""The views of one run directory: TensorBoard events as steps come, curves at the end. A view never ends a run."""

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path

from areal_mesh.views.events import EventLog
from areal_mesh.views.rows import read_rows

METRICS_FILE = "metrics.jsonl"
EVALUATIONS_FILE = "evaluations.jsonl"
EVENTS_FOLDER = "tensorboard"
CURVES = "plots/curves.png"
ACCURACY = "plots/accuracy.png"
_NEEDS = {EVENTS_FOLDER: "tensorboard", CURVES: "matplotlib"}


class RunViews:
    """Writes the views; safe to call from several threads, for both imports and drawing take seconds.

    What fails (a full disk, a package that is not installed) is said once, by `say`, until it has succeeded again; it
    is tried again with the next step.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], *, events: bool = True) -> None:
        self._folder = folder
        self._with_events = events
        self._say = say
        self._failed: set[str] = set()
        self._lock = threading.Lock()
        self._events = self._new_events()

    def catch_up(self) -> None:
        """Writes the events of the steps that are new, where they are wanted."""
        with self._lock:
            if self._with_events:
                self._try(EVENTS_FOLDER, self._events.catch_up)

    def conclude(self) -> None:
        """Writes what is left of the events, and draws the curves."""
        with self._lock:
            if self._with_events:
                self._try(EVENTS_FOLDER, self._events.close)
                self._events = self._new_events()
        self.draw()

    def draw(self) -> None:
        """Draws the curves of the steps so far."""
        with self._lock:
            self._try(CURVES, self._draw)

    def _new_events(self) -> EventLog:
        return EventLog(self._folder / METRICS_FILE, self._folder / EVENTS_FOLDER)

    def _draw(self) -> None:
        rows = read_rows(self._folder / METRICS_FILE)
        if rows:
            from areal_mesh.views.curves import plot_curves

            plot_curves(rows, self._folder / CURVES)
        evaluations = read_rows(self._folder / EVALUATIONS_FILE)
        if evaluations:
            from areal_mesh.views.accuracy import plot_accuracy

            plot_accuracy(evaluations, [self._folder / ACCURACY])

    def _try(self, view: str, write: Callable[[], None]) -> None:
        package = _NEEDS[view]
        if importlib.util.find_spec(package) is None:
            self._say_once(view, f"{package} is not installed; install areal-mesh[views]")
            return
        try:
            write()
        except Exception as error:  # noqa: BLE001 whatever a drawing library finds wrong, the run goes on
            self._say_once(view, str(error) or repr(error))
            if view == EVENTS_FOLDER:
                # Written in part, perhaps; the next time begins anew.
                self._events = self._new_events()
        else:
            self._failed.discard(view)

    def _say_once(self, view: str, cause: str) -> None:
        if view not in self._failed:
            self._say(f"{self._folder / view} is not written: {cause}")
        self._failed.add(view)
