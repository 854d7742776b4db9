"""Restart decisions of the supervisor: which ends are tried again, how soon, and when that stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.restarts import RestartPolicy, Verdict, describe_exit
from areal_mesh.runtime.service import EXIT_CANNOT_START

POLICY = RestartPolicy(most_restarts=4, window_seconds=100, first_backoff_seconds=1, last_backoff_seconds=3)


def test_an_end_with_zero_is_done_however_often_it_was_restarted() -> None:
    assert POLICY.decide(0, [1, 2, 3, 4, 5], 6).verdict is Verdict.DONE


def test_what_cannot_start_is_never_tried_again() -> None:
    assert POLICY.decide(EXIT_CANNOT_START, [], 0).verdict is Verdict.CANNOT_START


def test_the_first_restart_is_immediate_and_later_ones_back_off_up_to_the_bound() -> None:
    delays = [POLICY.decide(-9, list(range(count)), 10.0).delay_seconds for count in range(4)]
    assert delays == [0, 1, 2, 3]


def test_too_many_restarts_in_the_window_give_up() -> None:
    assert POLICY.decide(1, [10, 11, 12, 13], 14).verdict is Verdict.GIVE_UP


def test_restarts_before_the_window_are_forgiven() -> None:
    decision = POLICY.decide(1, [10, 11, 12, 13], 200)
    assert (decision.verdict, decision.delay_seconds) == (Verdict.RESTART, 0)


@given(st.integers(-64, 255), st.lists(st.floats(0, 1000), max_size=12))
def test_a_delay_is_never_over_its_bound_and_only_a_restart_has_one(exit_code: int, restarts: list[float]) -> None:
    decision = POLICY.decide(exit_code, restarts, 1000)
    assert 0 <= decision.delay_seconds <= POLICY.last_backoff_seconds
    assert decision.verdict is Verdict.RESTART or decision.delay_seconds == 0


@pytest.mark.parametrize(
    ("code", "words"), [(3, "exit code 3"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")]
)
def test_an_exit_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
