"""Views on a full disk: curves and events are left out, said, and never end a run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from areal_mesh.views.run_views import CURVES, EVENTS_FOLDER, METRICS_FILE, RunViews
from tests.integration.small_disk import fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4) as folder:
        yield folder


def add_steps(metrics: Path, first: int, last: int) -> None:
    with metrics.open("a") as file:
        for step in range(first, last + 1):
            row = {"step": step, "reward": float(step), "response_length": 10.0, "stage": 0, "stage_name": "8K"}
            file.write(json.dumps(row | {f"figure_{n}": float(n) for n in range(100)}) + "\n")


def steps_in(folder: Path) -> list[int]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return sorted(event.step for path in folder.iterdir() for event in EventFileLoader(str(path)).Load() if event.step)


def test_events_that_found_no_room_are_all_written_once_there_is(tmp_path: Path, disk: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    (disk / METRICS_FILE).symlink_to(metrics)
    said: list[str] = []
    views = RunViews(disk, said.append)
    add_steps(metrics, 1, 3)
    views.catch_up()
    filler = fill(disk)
    for step in range(4, 40, 5):
        add_steps(metrics, step, step + 4)
        views.catch_up()
    assert len(said) == 1
    assert "the disk is full" in said[0]
    filler.unlink()
    views.catch_up()
    views.conclude()
    assert steps_in(disk / EVENTS_FOLDER) == list(range(1, 44))


def test_curves_that_find_no_room_are_left_out(disk: Path) -> None:
    add_steps(disk / METRICS_FILE, 1, 5)
    (disk / CURVES).parent.mkdir()
    said: list[str] = []
    views = RunViews(disk, said.append)
    filler = fill(disk)
    views.draw()
    assert len(said) == 1
    assert not (disk / CURVES).exists()
    filler.unlink()
    views.draw()
    assert (disk / CURVES).stat().st_size > 0
