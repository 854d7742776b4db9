"""Rates of a counter, on a virtual clock."""

from areal_mesh.runtime.rates import CounterRate


class VirtualClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_spans_the_window_and_forgets_what_is_older() -> None:
    time = VirtualClock()
    rate = CounterRate(time, window_seconds=10)
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
    rate = CounterRate(time)
    time.now += 2
    rate.read(5)
    time.now += 3
    rate.read(5)
    assert rate.seconds_since_progress() == 3
