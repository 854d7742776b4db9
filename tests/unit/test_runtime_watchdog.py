"""The watchdog: pace, stalls, open calls; and that a loop that hangs is told by what it waits for."""

import asyncio
import json
import time
from pathlib import Path

import pytest
import structlog

from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.settings import ServiceSettings
from areal_mesh.runtime.watchdog.open_calls import OpenCalls
from areal_mesh.runtime.watchdog.pace import Pace
from areal_mesh.runtime.watchdog.stall import StallDetector
from areal_mesh.runtime.watchdog.thread import Heard, Watchdog

PATIENCE_SECONDS = 15.0


def test_the_pace_is_the_median_of_the_times_between_versions() -> None:
    pace = Pace()
    assert pace.step_seconds is None
    for version, now in ((4, 100.0), (4, 105.0), (5, 110.0), (6, 112.0), (8, 116.0)):
        pace.hear(version, now)
    # 10, 2, and two steps in 4.
    assert pace.step_seconds == 2.0


def test_a_controller_that_went_back_is_no_step() -> None:
    pace = Pace()
    for version, now in ((4, 0.0), (5, 1.0), (0, 50.0), (1, 51.0)):
        pace.hear(version, now)
    assert pace.step_seconds == 1.0


def test_a_stall_is_told_once_and_again_only_after_progress() -> None:
    detector = StallDetector(steps=20, least_seconds=60)
    looks = [(59.0, 1.0), (61.0, 1.0), (70.0, 1.0), (0.5, 1.0), (99.0, 5.0), (100.0, 5.0)]
    assert [detector.look(silent, step) for silent, step in looks] == [False, True, False, False, False, True]


def test_before_the_pace_is_known_a_step_is_taken_for_long_and_0_never_tells() -> None:
    assert not StallDetector(20, 60).look(1199, None)
    assert StallDetector(20, 60).look(1200, None)
    assert not StallDetector(0, 60).look(1e9, 1.0)


def test_open_calls_are_known_by_method_and_by_whom_they_ask() -> None:
    clock = iter([0.0, 5.0, 8.0, 9.0, 9.0, 9.0])
    calls = OpenCalls(lambda: next(clock))
    answered = calls.begin("/areal_mesh.v1.ReplayService/DrawBatch", "10.0.0.1:7401")
    calls.begin("/areal_mesh.v1.ReplayService/DrawBatch", "10.0.0.2:7401")
    calls.begin("/areal_mesh.v1.ControllerService/NextStep", "10.0.0.3:7400")
    assert calls.ages(2.0) == {"ReplayService/DrawBatch": 9.0}
    answered(None)
    answered(None)
    assert calls.described() == [
        "ReplayService/DrawBatch of 10.0.0.2:7401, for 4.0 s",
        "ControllerService/NextStep of 10.0.0.3:7400, for 1.0 s",
    ]


def test_a_loop_that_hangs_is_told_with_its_stacks_and_with_whom_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.watchdog.thread._LOOK_SECONDS", 0.05)
    file = tmp_path / "logs" / "learner-0.stacks"
    heard, calls = Heard(), OpenCalls()
    watchdog = Watchdog(heard, calls, ServiceSettings(stall_steps=1, stall_seconds=0.3), file)

    async def hang() -> None:
        watchdog.start(asyncio.get_running_loop())
        heard.hear(HeartbeatReport(), 1)
        calls.begin("/areal_mesh.v1.ReplayService/DrawBatch", "10.0.0.1:7401")
        block_the_loop(file)

    with structlog.testing.capture_logs() as events:
        asyncio.run(hang())
        watchdog.stop()
    (told,) = [event for event in events if event["event"] == "no progress"]
    assert told["waits_for"][0].startswith("ReplayService/DrawBatch of 10.0.0.1:7401, for ")
    assert told["seconds"] >= 0.3
    assert "block_the_loop" in file.read_text()
    assert json.dumps(told, default=str)


def block_the_loop(until: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (until.exists() and until.read_text()):
        assert time.monotonic() < deadline, "the watchdog never told"
        time.sleep(0.01)
