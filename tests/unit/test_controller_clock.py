"""The machine's clock may be set at any time; no interval of a run becomes longer or shorter by it."""

from areal_mesh.controller.clock import Clock, steady_unix

TEN_DAYS = 864_000.0


def test_a_clock_set_forward_changes_no_interval_of_a_life() -> None:
    machine = {"unix": 1_700_000_000.0, "monotonic": 50.0}
    unix = steady_unix(lambda: machine["unix"], lambda: machine["monotonic"])
    assert unix() == 1_700_000_000.0
    machine["unix"] += TEN_DAYS
    machine["monotonic"] += 10.0
    assert unix() == 1_700_000_010.0


def test_a_new_life_reads_the_clock_anew() -> None:
    clock = Clock()
    assert abs(clock.unix() - steady_unix()()) < 60
