"""The views of a run directory: they follow the metrics, and nothing that happens to them is raised."""

import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install areal-mesh[views]")
pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install areal-mesh[views]")

from areal_mesh.views.run_views import CURVES, EVENTS_FOLDER, METRICS_FILE, RunViews


def take_step(folder: Path, step: int) -> None:
    with (folder / METRICS_FILE).open("a") as file:
        row = {"step": step, "stage": 0, "reward": 1.0, "response_length": 9.0, "committed_at": 1e9 + step}
        file.write(json.dumps(row) + "\n")


def test_events_come_with_the_steps_and_curves_at_the_end(tmp_path: Path) -> None:
    said: list[str] = []
    views = RunViews(tmp_path, said.append)
    views.catch_up()
    assert not (tmp_path / EVENTS_FOLDER).exists(), "a run that took no step leaves no view"
    take_step(tmp_path, 1)
    views.catch_up()
    (events,) = (tmp_path / EVENTS_FOLDER).iterdir()
    first = events.stat().st_size
    take_step(tmp_path, 2)
    views.catch_up()
    assert events.stat().st_size > first
    assert not (tmp_path / CURVES).exists()
    views.conclude()
    assert (tmp_path / CURVES).read_bytes().startswith(b"\x89PNG")
    assert not said


def test_a_view_that_cannot_be_written_is_said_once_and_written_whole_when_it_can(tmp_path: Path) -> None:
    said: list[str] = []
    views = RunViews(tmp_path, said.append)
    in_the_way = [tmp_path / EVENTS_FOLDER, (tmp_path / CURVES).parent]
    for path in in_the_way:
        path.write_text("a file where a folder belongs")
    for step in (1, 2):
        take_step(tmp_path, step)
        views.catch_up()
    views.conclude()
    views.conclude()
    assert len(said) == 2
    assert all(str(tmp_path / view) in line for view, line in zip((EVENTS_FOLDER, CURVES), said, strict=True))
    for path in in_the_way:
        path.unlink()
    views.conclude()
    assert (tmp_path / CURVES).is_file()
    assert list((tmp_path / EVENTS_FOLDER).iterdir())
    assert len(said) == 2


def test_a_full_disk_is_said_and_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    views = RunViews(tmp_path, said.append)
    take_step(tmp_path, 1)
    with monkeypatch.context() as full:
        full.setattr("areal_mesh.views.events._ROOM_BYTES", 1 << 62)
        views.catch_up()
        views.catch_up()
    assert len(said) == 1
    assert "the disk is full" in said[0]
    views.catch_up()
    assert list((tmp_path / EVENTS_FOLDER).iterdir())
