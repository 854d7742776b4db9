"""What is made of a run's metrics: rows, averages, curves and events."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.views.rows import MetricsTail, moving_average, read_rows, series, stage_starts
from tests.unit.run_metrics import rows


def test_a_tail_gives_each_row_once_and_waits_for_a_line_to_be_whole(metrics_file: Path) -> None:
    tail = MetricsTail(metrics_file)
    assert [row["step"] for row in tail.new_rows()] == [1, 2, 3, 4, 5, 6]
    with metrics_file.open("a") as file:
        file.write('{"step": 7')
    assert list(tail.new_rows()) == []
    with metrics_file.open("a") as file:
        file.write("}\n")
    assert [row["step"] for row in tail.new_rows()] == [7]


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "metrics.jsonl") == []


def test_a_series_leaves_out_the_steps_without_the_metric() -> None:
    assert series(rows(4), "reward") == ([1, 2, 4], [0.5, 1.0, 2.0])


def test_stages_start_where_their_index_changes() -> None:
    assert stage_starts(rows(6)) == [(1, "8"), (4, "16")]


@given(st.lists(st.floats(-5, 5), max_size=40), st.integers(1, 10))
def test_a_moving_average_is_the_mean_of_the_last_values(values: list[float], window: int) -> None:
    averages = moving_average(values, window)
    for position, average in enumerate(averages):
        last = values[max(0, position - window + 1) : position + 1]
        assert average == pytest.approx(sum(last) / len(last), abs=1e-9)


def test_curves_are_drawn_from_the_metrics(metrics_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install areal-mesh[views]")
    from areal_mesh.views.curves import plot_curves

    plot_curves(read_rows(metrics_file), tmp_path / "plots" / "curves.png")
    content = (tmp_path / "plots" / "curves.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 10_000


EVENTS_SCRIPT = """
import sys
from pathlib import Path
from areal_mesh.views.events import EventLog
metrics, folder = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(2):
    log = EventLog(metrics, folder)
    log.catch_up()
    log.catch_up()
    log.close()
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(str(folder))
events.Reload()
print(sorted(events.Tags()["scalars"]))
print([(event.step, event.value, event.wall_time) for event in events.Scalars("reward")])
print("torch" in sys.modules)
"""


def test_events_hold_each_step_once_and_need_no_torch(metrics_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install areal-mesh[views]")
    command = [sys.executable, "-c", EVENTS_SCRIPT, str(metrics_file), str(tmp_path / "events")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    tags, scalars, torch = run.stdout.splitlines()
    assert tags == "['response_length', 'reward', 'stage']"
    assert scalars == str([(step, step / 2, 1e9 + step) for step in (1, 2, 4, 5, 6)])
    assert torch == "False"
