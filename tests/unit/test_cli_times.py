"""What a person is told of time: how long a run has gone on, how long it will, and what a service loads meanwhile."""

import dataclasses
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from areal_mesh.cli.phases import phase_of, process_note
from areal_mesh.cli.times import seconds_left, shown_seconds, times_line
from areal_mesh.client import RunState
from areal_mesh.runtime.supervision import ProcessPhase, ProcessState
from tests.unit.test_cli_view import example

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (100_800, "1 d 4 h"), (-3, "0 s")],
)
def test_a_time_is_said_as_people_say_it(seconds: float, shown: str) -> None:
    assert shown_seconds(seconds) == shown


def test_what_is_left_goes_by_the_pace_of_the_last_steps() -> None:
    status = dataclasses.replace(example(step=4), started=BEGAN, step_metrics={"step_seconds": 2.5})
    assert times_line(status, BEGAN + timedelta(seconds=90)) == "elapsed 1 min 30 s, left 40 s at most"
    for other in (
        dataclasses.replace(status, state=RunState.FINISHED),
        dataclasses.replace(status, step_metrics={}),
        dataclasses.replace(status, planned_steps=0),
    ):
        assert seconds_left(other) is None
        assert times_line(other, BEGAN + timedelta(seconds=5)) == "elapsed 5 s"
    assert times_line(example(), BEGAN) == "", "nobody says when it began"


def test_the_last_line_that_tells_of_a_phase_is_what_goes_on() -> None:
    head = "2026-01-01T00:00:00Z [info     ] "
    lines = [
        f"{head}phase                          now={now} service=generator-0"
        for now in ("importing", "'loading weights'")
    ]
    assert phase_of(lines[:1]) == "importing"
    assert phase_of([*lines, f"{head}something else service=generator-0"]) == "loading weights"
    assert phase_of([]) == "starting"


def test_a_process_is_told_with_what_it_loads_and_why_it_was_started_again(tmp_path: Path) -> None:
    log = tmp_path / "generator-0.log"
    before = b"[info     ] phase now='of the life before' service=generator-0\n"
    log.write_bytes(before + b"[info     ] phase now='loading weights' service=generator-0\n")
    state = ProcessState(ProcessPhase.RUNNING, pid=42, began=time.monotonic() - 7, log_offset=len(before))
    assert process_note(state, log, loading=True) == "loading weights, 7 s"
    assert process_note(state, log, loading=False) == "process 42"
    state.restarts, state.last_exit, state.cause = 2, "exit code 1", "out of memory"
    assert process_note(state, log, loading=False) == "process 42, 2 restarts (exit code 1: out of memory)"
    state.log_offset = len(log.read_bytes())
    assert process_note(state, log, loading=True).startswith("starting, 7 s, 2 restarts"), "not of the life before"


def test_a_phase_that_a_service_notes_is_found_in_its_log(tmp_path: Path) -> None:
    """In the form that its log has, whatever that is: in a process of its own, as a service writes it."""
    code = (
        "import sys; from pathlib import Path; from areal_mesh.runtime.telemetry import configure_logging, note_phase; "
        "configure_logging('generator-0', Path(sys.argv[1])); note_phase('importing'); note_phase('loading weights')"
    )
    with (tmp_path / "generator-0.log").open("wb") as log:
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], stderr=log, check=True, timeout=20)
    assert phase_of((tmp_path / "generator-0.log").read_text(encoding="utf-8").splitlines()) == "loading weights"
