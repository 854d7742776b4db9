"""Reads `metrics.jsonl`, the controller's one line a step, while it grows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
"""Figures of one step by metric name; `step` is always there."""


class MetricsTail:
    """The rows of a file that were not read yet; a line written in part is left for later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_rows(self) -> Iterator[Row]:
        """Rows since the last call; none while the file does not exist."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)


def read_rows(path: Path) -> list[Row]:
    """All whole rows of a file; empty if there is none."""
    return list(MetricsTail(path).new_rows())


def series(rows: Sequence[Row], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a metric, over the rows that have it."""
    found = [(int(row["step"]), float(row[name])) for row in rows if row.get(name) is not None]
    return [step for step, _ in found], [value for _, value in found]


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Mean of the last `window` values at each position; of those there are where they are fewer."""
    averages, total = [], 0.0
    for position, value in enumerate(values):
        total += value
        if position >= window:
            total -= values[position - window]
        averages.append(total / min(position + 1, window))
    return averages


def stage_starts(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """First step of each stage with the stage's name, in the order of the rows."""
    starts: list[tuple[int, str]] = []
    before: Any = None
    for row in rows:
        stage = row.get("stage")
        if stage is not None and stage != before:
            starts.append((int(row["step"]), str(row.get("stage_name", stage))))
            before = stage
    return starts
