"""How many responses are open in the engine: the invariants of `generator.concurrency`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.generator.concurrency import Concurrency, Look

SHAPES = st.tuples(st.integers(1, 512), st.integers(1, 64), st.integers(1, 200))
LOOKS = st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1), st.integers(0, 3), st.integers(0, 250)), max_size=60)


@given(shape=SHAPES, looks=LOOKS)
def test_limit_and_room_keep_their_bounds(
    shape: tuple[int, int, int], looks: list[tuple[int, float, int, int]]
) -> None:
    slots, group, max_groups = shape
    state, preemptions = Concurrency.start(*shape), 0
    for open_responses, use, preempted, held in looks:
        preemptions += preempted
        before = state.limit
        state = state.observe(Look(open_responses, use, preemptions))
        assert min(group, slots) <= state.limit <= slots
        assert state.limit <= before or open_responses >= before, "it rises only while it is reached"
        assert state.limit <= before + group
        room = state.room(open_responses, held)
        assert 0 <= room <= max(0, max_groups - held)
        after = open_responses + room * group
        assert room == 0 or after <= state.limit + state.ahead or after < state.limit + group
        assert after >= state.limit or room == max_groups - held or held > max_groups, "no slot stays empty"


@given(
    use=st.floats(0.95, 1), preempted=st.integers(0, 2), open_responses=st.integers(0, 300), looks=st.integers(1, 20)
)
def test_a_short_cache_lowers_the_limit_once_until_responses_end(
    use: float, preempted: int, open_responses: int, looks: int
) -> None:
    look = Look(open_responses, use, preempted)
    once = Concurrency.start(256, 4, 64).observe(look)
    again = once
    for _ in range(looks):
        again = again.observe(look)
    assert again == once
    assert once.limit == max(4, min(256, min(open_responses, 256) * 9 // 10))
    assert once.ahead == 0, "what waited in the engine would be started at once"


def test_a_preemption_lowers_the_limit_though_the_cache_has_room_by_now() -> None:
    start = Concurrency.start(100, 4, 64)
    lowered = start.observe(Look(100, 0.5, 1))
    assert lowered.limit == 90
    assert lowered.observe(Look(90, 0.5, 1)).limit == 94, "the same preemption counts once"


@given(slots=st.integers(1, 256), group=st.integers(1, 16))
def test_the_limit_falls_to_one_group_while_the_cache_stays_full_and_comes_back(slots: int, group: int) -> None:
    state = Concurrency.start(slots, group, 1000)
    for _ in range(200):
        state = state.observe(Look(state.limit, 1.0, 0))
    assert state.limit == min(group, slots)
    for _ in range(slots):
        state = state.observe(Look(state.limit, 0.1, 0))
    assert state.limit == slots


@given(slots=st.integers(1, 64), group=st.integers(1, 16), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_slots_stay_full_however_unequal_the_responses_of_a_group_are(
    slots: int, group: int, lengths: list[int]
) -> None:
    """An engine that makes a token of each response in its slots a step, and groups that come when asked for."""
    state = Concurrency.start(slots, group, 10_000)
    waiting: list[int] = []
    drawn, calls, groups = 0, 0, 0
    for _ in range(40):
        state = state.observe(Look(len(waiting), 0.1, 0))
        room = state.room(len(waiting), 0)
        calls, groups = calls + (room > 0), groups + room
        for _ in range(room * group):
            waiting.append(lengths[drawn % len(lengths)])
            drawn += 1
        assert slots <= len(waiting) < slots + max(state.ahead + 1, group)
        waiting = [left - 1 for left in waiting[:slots] if left > 1] + waiting[slots:]
    assert calls <= groups


def test_less_than_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_groups_in_flight = 0"):
        Concurrency.start(4, 4, 0)
