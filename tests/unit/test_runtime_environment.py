"""Cores of a process, and of the engine within it."""

import os
import subprocess
import threading

import pytest

from areal_mesh.runtime.environment import pin_threads, split_cores, stand_back


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5, 7})


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("engine_cores", "engine", "service"),
    [
        (None, {2, 3, 5, 7}, {2, 3, 5, 7}),
        ([0], {2}, {3, 5, 7}),
        ([1, 2], {3, 5}, {2, 7}),
        ([0, 1, 2, 3], {2, 3, 5, 7}, {2, 3, 5, 7}),
        ([4], {2}, {3, 5, 7}),
    ],
)
def test_the_engine_has_its_cores_and_the_service_the_rest(
    engine_cores: list[int] | None, engine: set[int], service: set[int]
) -> None:
    assert split_cores(engine_cores) == (engine, service)


def test_every_thread_is_pinned() -> None:
    before, seen = os.sched_getaffinity(0), []
    pinned, goes_on = threading.Event(), threading.Event()

    def look() -> None:
        pinned.wait(10)
        seen.append(os.sched_getaffinity(0))
        goes_on.set()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        pin_threads({min(before)})
        pinned.set()
        assert goes_on.wait(10)
        assert [*seen, os.sched_getaffinity(0)] == [{min(before)}] * 2
    finally:
        pin_threads(before)
        thread.join()


def test_a_thread_stands_back_with_what_it_starts_and_is_never_put_forward() -> None:
    seen: list[int] = []

    def priorities() -> None:
        for niceness in (7, 3):
            stand_back(niceness)
            seen.append(os.getpriority(os.PRIO_PROCESS, 0))
        seen.append(int(subprocess.run(["nice"], capture_output=True, text=True, timeout=60).stdout))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=priorities)
    thread.start()
    thread.join(60)
    lowest = max(7, before)
    assert seen == [lowest, lowest, lowest]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
