"""Generating seconds, on a virtual clock."""

from areal_mesh.generator.progress import GeneratingClock


class VirtualClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_generating_seconds_count_overlapping_groups_once_and_no_frozen_time() -> None:
    time = VirtualClock()
    clock = GeneratingClock(time)
    time.now += 5  # idle
    clock.begin()
    time.now += 2
    clock.begin()
    time.now += 3
    clock.end()
    clock.freeze(True)
    time.now += 7
    clock.freeze(False)
    time.now += 1
    clock.end()
    time.now += 4
    assert clock.seconds() == 6
