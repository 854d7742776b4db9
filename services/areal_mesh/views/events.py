"""TensorBoard events of a run, from its `metrics.jsonl`: every number of a step as a scalar under its own name."""

import errno
import shutil
from pathlib import Path
from typing import Any

from areal_mesh.views.rows import MetricsTail, Row

_FLUSH_SECONDS = 5
# With less nothing is tried: the writer's thread tells of its failure in a traceback.
_ROOM_BYTES = 1 << 20
_TIMES = ("committed_at", "time")


class EventLog:
    """Writes the events of a run anew and then as its metrics grow. Needs the package `tensorboard`, not torch.

    Nothing is touched before the first step, so that a run that cannot start says so without waiting for an import.
    """

    def __init__(self, metrics: Path, folder: Path) -> None:
        self._tail = MetricsTail(metrics)
        self._folder = folder
        self._writer: Any = None

    def catch_up(self) -> None:
        """Writes the steps that are new since the last call.

        Raises:
            OSError: they cannot be written, or the disk has no room for them.
        """
        if shutil.disk_usage(self._folder.parent).free < _ROOM_BYTES:
            raise OSError(errno.ENOSPC, "the disk is full")
        for row in self._tail.new_rows():
            if self._writer is None:
                self._writer = _new_writer(self._folder)
            self._writer.add_event(_event(row))
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Writes what is new, and ends the file."""
        self.catch_up()
        if self._writer is not None:
            # Flushed by now, so that a full disk has nothing left to refuse.
            self._writer.close()


def _new_writer(folder: Path) -> Any:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    # Written anew: events of an earlier sitting would stand beside those of the same steps.
    shutil.rmtree(folder, ignore_errors=True)
    return EventFileWriter(str(folder), flush_secs=_FLUSH_SECONDS)


def _event(row: Row) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    scalars = [
        Summary.Value(tag=name, simple_value=float(value))
        for name, value in row.items()
        if isinstance(value, int | float) and name not in ("step", *_TIMES)
    ]
    wall_time = next((float(row[name]) for name in _TIMES if name in row), 0.0)
    return Event(step=int(row["step"]), wall_time=wall_time, summary=Summary(value=scalars))
