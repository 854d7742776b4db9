"""Restart decisions of the supervisor: which ends are tried again, how soon, and when that stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.restarts import Ends, Reaction, RestartPolicy, describe_exit

POLICY = RestartPolicy(most_restarts=4, most_alike=3, first_backoff_seconds=1, last_backoff_seconds=3)
KILLED = -9


def ends_of(*causes: str, exit_code: int = 1) -> Ends:
    """Ends with these last words and no progress between them."""
    ends = Ends()
    for cause in causes:
        ends.add(exit_code, cause, progress=None)
    return ends


def test_an_end_with_zero_is_done_however_often_it_was_restarted() -> None:
    assert POLICY.decide(0, Ends(count=9)).reaction is Reaction.DONE


def test_what_cannot_start_is_never_tried_again() -> None:
    assert POLICY.decide(EXIT_CANNOT_START, Ends(count=1)).reaction is Reaction.CANNOT_START


def test_the_first_restart_is_immediate_and_later_ones_back_off_up_to_the_bound() -> None:
    delays = [POLICY.decide(KILLED, ends_of(*["up"] * count, exit_code=KILLED)).delay_seconds for count in range(1, 5)]
    assert delays == [0, 1, 2, 3]


def test_too_many_restarts_without_progress_give_up_however_long_each_life_was() -> None:
    assert POLICY.decide(1, ends_of("a", "b", "c", "d")).reaction is Reaction.RESTART
    assert POLICY.decide(1, ends_of("a", "b", "c", "d", "e")).reaction is Reaction.GIVE_UP


def test_progress_between_two_ends_forgives_those_before() -> None:
    ends = Ends()
    for step in range(20):
        ends.add(1, "out of memory", progress=step)
        assert POLICY.decide(1, ends).reaction is Reaction.RESTART
    assert (ends.count, ends.alike) == (1, 1)


def test_lives_that_end_for_the_same_cause_are_given_up_sooner() -> None:
    assert POLICY.decide(1, ends_of("ended: port 4711", "ended: port 4712")).reaction is Reaction.RESTART
    assert POLICY.decide(1, ends_of("ended: port 1", "ended: port 2", "ended: port 30")).reaction is Reaction.GIVE_UP
    assert POLICY.decide(1, ends_of("one", "two", "one")).reaction is Reaction.RESTART


def test_kills_from_outside_give_no_cause_and_are_never_alike() -> None:
    assert ends_of(*["serving"] * 4, exit_code=KILLED).alike == 0
    assert ends_of("", "", "").alike == 0


@given(st.integers(-64, 255), st.lists(st.tuples(st.integers(-64, 255), st.text(max_size=3), st.integers(0, 2))))
def test_a_delay_is_never_over_its_bound_and_restarts_are_never_endless(
    exit_code: int, lives: list[tuple[int, str, int]]
) -> None:
    ends = Ends()
    for life in [*lives, (exit_code, "", 0)]:
        ends.add(*life)
    decision = POLICY.decide(exit_code, ends)
    assert 0 <= decision.delay_seconds <= POLICY.last_backoff_seconds
    assert decision.reaction is Reaction.RESTART or decision.delay_seconds == 0
    assert 0 <= ends.alike <= ends.count
    if decision.reaction is Reaction.RESTART:
        assert ends.count <= POLICY.most_restarts


@pytest.mark.parametrize(
    ("code", "words"), [(3, "exit code 3"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")]
)
def test_an_exit_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
