"""The end of a run over plain values: who leaves when, who is still needed, how long the controller stays."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.controller.ending import (
    LEARNER_RETURN_SECONDS,
    Ending,
    LastToLeave,
    Stay,
    drains,
    learner_done,
    needed,
)
from areal_mesh.v1 import common_pb2

GENERATOR, VERIFIER = common_pb2.ROLE_GENERATOR, common_pb2.ROLE_VERIFIER
REPLAY, LEARNER = common_pb2.ROLE_REPLAY, common_pb2.ROLE_LEARNER
ROLES = (GENERATOR, VERIFIER, REPLAY, LEARNER)
RUNNING = Ending(
    over=False,
    stopping=False,
    version=7,
    publish_due=True,
    learner_gone=False,
    generators_live=True,
    learner_silence=0.0,
)
FINISHED = replace(RUNNING, over=True)
STOPPING = replace(FINISHED, stopping=True)
PUBLISHED = replace(FINISHED, publish_due=False)
LOST = LEARNER_RETURN_SECONDS + 0.1


def leaving(ending: Ending, held: int = 7) -> set[common_pb2.Role.ValueType]:
    return {role for role in ROLES if drains(ending, role, held)}


def still_needed(ending: Ending) -> set[common_pb2.Role.ValueType]:
    return {role for role in ROLES if needed(ending, role)}


endings = st.builds(
    Ending,
    over=st.booleans(),
    stopping=st.booleans(),
    version=st.integers(0, 3),
    publish_due=st.booleans(),
    learner_gone=st.booleans(),
    generators_live=st.booleans(),
    learner_silence=st.none() | st.floats(0.0, 300.0),
).map(lambda ending: replace(ending, over=ending.over or ending.stopping))


def test_nobody_leaves_a_run_that_goes_on_and_everybody_is_needed() -> None:
    assert leaving(RUNNING) == set()
    assert leaving(replace(RUNNING, generators_live=False, learner_silence=None)) == set()
    assert still_needed(replace(RUNNING, learner_gone=True)) == set(ROLES)


def test_members_of_a_finished_run_leave_in_the_order_of_what_they_hold() -> None:
    assert leaving(FINISHED, held=6) == set(), "the last version is neither held nor published"
    assert leaving(FINISHED) == {LEARNER}, "the last version is on its way to generators"
    assert leaving(PUBLISHED) == {GENERATOR, LEARNER}
    without_generators = replace(PUBLISHED, generators_live=False)
    assert leaving(without_generators) == {GENERATOR, VERIFIER, LEARNER}
    assert leaving(replace(without_generators, learner_silence=None)) == set(ROLES)


def test_a_stopped_run_waits_for_no_version_and_for_nobody_who_is_lost() -> None:
    assert leaving(STOPPING, held=3) == {GENERATOR, LEARNER}
    assert REPLAY not in leaving(replace(STOPPING, generators_live=False)), "the learner lives and draws from it"
    assert leaving(replace(STOPPING, generators_live=False, learner_silence=5.0)) == set(ROLES)


@pytest.mark.parametrize(("silence", "stays"), [(0.0, True), (LEARNER_RETURN_SECONDS, True), (LOST, False)])
def test_a_lost_learner_is_waited_for_while_it_may_come_back(silence: float, stays: bool) -> None:
    ending = replace(FINISHED, learner_silence=silence, generators_live=False)
    assert ending.learner_stays is stays
    assert (GENERATOR in leaving(ending)) is not stays
    assert (REPLAY in leaving(ending)) is not stays
    assert (GENERATOR in still_needed(ending)) is stays, "it may take the last version"


def test_where_no_learner_is_left_no_version_is_waited_for() -> None:
    assert GENERATOR in leaving(replace(FINISHED, learner_silence=None))
    assert GENERATOR not in still_needed(replace(FINISHED, learner_silence=None))


def test_a_service_is_needed_until_its_part_of_the_end_is_done() -> None:
    assert still_needed(FINISHED) == set(ROLES)
    assert still_needed(PUBLISHED) == {VERIFIER, REPLAY, LEARNER}
    draining = replace(PUBLISHED, generators_live=False)
    assert still_needed(draining) == {REPLAY, LEARNER}, "a killed learner comes back for its last checkpoint"
    gone = replace(PUBLISHED, learner_gone=True, learner_silence=None)
    assert still_needed(gone) == {VERIFIER, REPLAY}, "a generator is graded for, and stores what it holds"
    assert still_needed(replace(gone, generators_live=False)) == set()


@given(endings)
def test_a_generator_is_told_to_leave_exactly_where_none_would_be_needed(ending: Ending) -> None:
    """Else one that was told to leave would be started again, or one that starts would be told to leave."""
    assert drains(ending, GENERATOR, -1) is not needed(ending, GENERATOR)
    assert drains(ending, VERIFIER, -1) is not needed(ending, VERIFIER)


@given(endings, st.integers(-1, 3))
def test_the_replay_buffer_leaves_after_everyone_that_calls_it(ending: Ending, held: int) -> None:
    if drains(ending, REPLAY, held):
        assert not ending.generators_live
        assert not ending.learner_stays


@pytest.mark.parametrize(
    ("over", "stopping", "held", "done"),
    [(False, False, 7, False), (True, False, 6, False), (True, False, 7, True), (True, True, 2, True)],
)
def test_a_learner_takes_every_step_of_a_finished_run_and_no_further_one_of_a_stopped(
    over: bool, stopping: bool, held: int, done: bool
) -> None:
    assert learner_done(over, stopping, 7, held) is done


ALONE = replace(PUBLISHED, generators_live=False, learner_silence=None)


def test_the_controller_leaves_once_nobody_is_there_or_on_the_way() -> None:
    last = LastToLeave(30.0, now=0.0)
    assert last.decide(replace(ALONE, over=False), 0, 0, 100.0) is Stay.STAYS, "the run goes on without members"
    assert last.decide(ALONE, 1, 0, 101.0) is Stay.STAYS
    assert last.decide(ALONE, 0, 1, 102.0) is Stay.STAYS, "it is to be told that the run is over"
    assert last.decide(ALONE, 0, 0, 103.0) is Stay.LEAVES


@pytest.mark.parametrize("needs", [lambda: replace(ALONE, over=False), lambda: replace(ALONE, learner_silence=60.0)])
def test_members_time_to_leave_counts_from_when_neither_run_nor_learner_needs_any(
    needs: Callable[[], Ending],
) -> None:
    last = LastToLeave(30.0, now=0.0)
    assert last.decide(needs(), 1, 0, 1000.0) is Stay.STAYS
    assert last.decide(ALONE, 1, 0, 1030.0) is Stay.STAYS
    assert last.decide(ALONE, 1, 1, 1030.5) is Stay.LEAVES_MEMBERS
