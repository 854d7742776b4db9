"""Figures of a run in trackers: the process that follows, what it does when a tracker fails, and the real packages."""

import asyncio
import importlib.util
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.runtime.settings.sinks import (
    TensorBoardSinkSettings,
    TrackioSinkSettings,
    WandbSinkSettings,
)
from areal_mesh.views.rows import MetricsTail
from areal_mesh.views.run_views import METRICS_FILE
from areal_mesh.views.sinks.follow import Sent, catch_up
from areal_mesh.views.sinks.run_sinks import RunSinks

SECONDS = 60.0


def take_steps(folder: Path, first: int, last: int) -> None:
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        for step in range(first, last + 1):
            row = {"step": step, "reward": step / 2, "staleness": {"0": 1}, "stage_name": "8", "committed_at": 1e9}
            file.write(json.dumps(row) + "\n")


def sitting(folder: Path, *sinks: Any) -> list[str]:
    """One sitting of a run: its sinks follow what is there, and end. What was said of them."""
    said: list[str] = []
    followed = RunSinks(sinks, folder, "run-1a2b", {"name": "run", "seed": 1}, said.append)
    followed.start()
    followed.look()
    followed.close(SECONDS)
    return said


class Kept:
    def __init__(self) -> None:
        self.steps: list[tuple[int, Mapping[str, float]]] = []

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self.steps.append((step, figures))

    def finish(self) -> None:
        pass


def test_each_step_is_given_once_over_all_sittings(tmp_path: Path) -> None:
    take_steps(tmp_path, 1, 2)
    first, second = Kept(), Kept()
    catch_up(MetricsTail(tmp_path / METRICS_FILE), first, Sent(tmp_path / ".kept.sent"))
    take_steps(tmp_path, 3, 3)
    catch_up(MetricsTail(tmp_path / METRICS_FILE), second, Sent(tmp_path / ".kept.sent"))
    assert first.steps == [(1, {"reward": 0.5}), (2, {"reward": 1.0})]
    assert second.steps == [(3, {"reward": 1.5})]


def test_events_are_written_where_their_sink_is_named(tmp_path: Path) -> None:
    for sinks, written in (([TensorBoardSinkSettings()], True), ([], False)):
        assert RunSinks(sinks, tmp_path, "run-1", {"name": "run"}, print).writes_events == written


@pytest.mark.skipif(
    importlib.util.find_spec("wandb") is not None, reason="wandb is installed: its absence cannot be shown"
)
def test_a_tracker_that_fails_is_said_and_the_run_goes_on(tmp_path: Path) -> None:
    take_steps(tmp_path, 1, 1)
    (line,) = sitting(tmp_path, WandbSinkSettings(mode="offline"))
    assert line == "wandb: ended with exit code 1, its last lines are above; the run goes on without it"


async def test_a_tracker_that_hangs_is_ended_within_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In place of the real package: one whose finish never returns.
    (tmp_path / "wandb.py").write_text(
        "import time\nclass Run:\n    def log(self, *a, **k): pass\n    def finish(self): time.sleep(600)\n"
        "def init(**k): return Run()\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    take_steps(tmp_path, 1, 1)
    said: list[str] = []
    sinks = RunSinks([WandbSinkSettings()], tmp_path, "run-1", {"name": "run"}, said.append)
    await asyncio.to_thread(sinks.start)
    async with asyncio.timeout(SECONDS):
        await asyncio.to_thread(sinks.close, 2.0)
    assert said == ["wandb: did not send what was left within 2 s; the rest is in metrics.jsonl"]


def test_weights_and_biases_writes_offline_runs_for_a_later_sync(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: make test-sinks")
    sink = WandbSinkSettings(mode="offline")
    take_steps(tmp_path, 1, 3)
    assert sitting(tmp_path, sink) == []
    take_steps(tmp_path, 4, 5)
    assert sitting(tmp_path, sink) == []
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-run-1a2b.wandb"))
    assert len(files) == 2, "one for each sitting, of the same run"
    steps = [figures["_step"] for file in files for figures in history_of(file)]
    assert steps == [1, 2, 3, 4, 5]
    assert history_of(files[1])[-1]["reward"] == 2.5


def history_of(file: Path) -> list[dict[str, float]]:
    """The figures in a file of wandb's: records in LevelDB's log format, behind a head of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in records_of(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return found


def records_of(data: bytes) -> Iterator[bytes]:
    place, record = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        # 1: whole; 2 and 3: more follows; 4: the last part.
        if kind in (1, 4):
            yield record
            record = b""


def test_trackio_keeps_the_run_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed: make test-sinks")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    sink = TrackioSinkSettings(project="mine")
    take_steps(tmp_path, 1, 3)
    assert sitting(tmp_path, sink) == []
    take_steps(tmp_path, 4, 5)
    assert sitting(tmp_path, sink) == []
    (database,) = (tmp_path / "trackio").glob("*mine*.db")
    with closing(sqlite3.connect(database)) as found:
        rows = found.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    assert [(name, step) for name, step, _ in rows] == [("run-1a2b", step) for step in range(1, 6)]
    assert json.loads(rows[-1][2])["reward"] == 2.5
