"""Who a controller waits for at the end of a run."""

from areal_mesh.controller.arrivals import Arrivals


def test_services_of_earlier_lives_are_awaited_until_they_are_settled() -> None:
    arrivals = Arrivals({"generator-0": 3, "learner-0": 1})
    arrivals.settled("learner-0")
    arrivals.settled("nobody-ever-heard-of-it")
    assert arrivals.awaited == {"generator-0"}
    arrivals.settled("generator-0")
    assert not arrivals.awaited


def test_one_that_announced_itself_is_awaited_again() -> None:
    arrivals = Arrivals()
    arrivals.announced("generator-0")
    assert arrivals.awaited == {"generator-0"}


def test_callers_cannot_make_the_controller_keep_names_without_end() -> None:
    arrivals = Arrivals()
    for number in range(10_000):
        arrivals.announced(f"generator-{number}")
    assert len(arrivals.awaited) < 5_000
