"""The process of one tracker: `python -m areal_mesh.views.sinks.follow RUN_DIRECTORY TYPE IDENTITY`.

It reads the settings of the sink and of the run from standard input, one JSON line, then follows `metrics.jsonl`
until standard input ends; it then sends what is left, and ends. A step that was sent in an earlier sitting is not sent
again: the last one is written down.
"""

import json
import select
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from areal_mesh.runtime.settings.sinks import SinkSettings
from areal_mesh.views.rows import MetricsTail
from areal_mesh.views.run_views import METRICS_FILE
from areal_mesh.views.sinks.table import SINKS
from areal_mesh.views.sinks.tracker import TrackedRun, Tracker, figures_of

_LOOK_SECONDS = 1.0


class Sent:
    """The last step that a tracker was given, over the sittings of the run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step = int(file.read_text(encoding="ascii")) if file.is_file() else 0

    def note(self, step: int) -> None:
        """Writes a step down, whole or not at all."""
        aside = self._file.with_name(f"{self._file.name}.new")
        aside.write_text(f"{step}\n", encoding="ascii")
        aside.replace(self._file)
        self.step = step


def catch_up(tail: MetricsTail, tracker: Tracker, sent: Sent) -> None:
    """Gives a tracker the steps that it was not given yet."""
    for row in tail.new_rows():
        step = int(row["step"])
        if step > sent.step:
            tracker.log(step, figures_of(row))
            sent.note(step)


def follow(folder: Path, kind: str, identity: str, given: dict[str, Any]) -> None:
    """Follows a run until standard input ends."""
    settings: Any = TypeAdapter(SinkSettings).validate_python(given["sink"])
    run = TrackedRun(given["name"], identity, folder, given["config"])
    make = SINKS[kind]
    assert make is not None, kind
    tracker = make(settings, run)
    sent = Sent(folder / f".{kind}.sent")
    tail = MetricsTail(folder / METRICS_FILE)
    while True:
        catch_up(tail, tracker, sent)
        readable, _, _ = select.select([sys.stdin], [], [], _LOOK_SECONDS)
        if readable and not sys.stdin.read(1):
            break
    catch_up(tail, tracker, sent)
    tracker.finish()


if __name__ == "__main__":
    follow(Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.stdin.readline()))
