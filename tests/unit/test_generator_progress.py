"""What a generator measures of itself, on a virtual clock."""

from areal_mesh.generator.progress import GeneratingClock, TokenRate


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


def test_the_rate_spans_the_window_and_forgets_what_is_older() -> None:
    time = VirtualClock()
    rate = TokenRate(time, window_seconds=10)
    assert rate.rate() == 0
    tokens = 0
    for _ in range(30):
        time.now += 1
        tokens += 50
        rate.read(tokens)
    assert rate.rate() == 50
    for _ in range(10):
        time.now += 1
        rate.read(tokens)
    assert rate.rate() == 0


def test_progress_is_a_counter_that_moves() -> None:
    time = VirtualClock()
    rate = TokenRate(time)
    time.now += 2
    rate.read(5)
    time.now += 3
    rate.read(5)
    assert rate.seconds_since_progress() == 3
