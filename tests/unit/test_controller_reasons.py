"""Reasons of groups that ended with nothing to train on: numbers left out, bounded in kind, counted in a row."""

from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.controller.reasons import OTHER, REASONLESS, FruitlessRow, count_reason, kind_of
from areal_mesh.controller.records import GroupState

FAILED, FILTERED, STALE = GroupState.FAILED, GroupState.FILTERED, GroupState.STALE


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    assert kind_of(FAILED, "g00000012: port 7400\nmore") == kind_of(FAILED, "g00000013: port 1") == "failed: gN: port N"
    assert kind_of(FILTERED, "  \n") == f"filtered: {REASONLESS}"


def test_the_commonest_of_a_row_is_told_in_the_words_of_the_last_group() -> None:
    row = FruitlessRow()
    for state, reason in ((FILTERED, "long 3"), (FAILED, "dead"), (FILTERED, "long 7")):
        row.ended(state, reason)
    assert (row.length, row.commonest()) == (3, ("long 7", 2))
    row.stored()
    assert (row.length, row.commonest()) == (0, (REASONLESS, 0))


@given(st.lists(st.tuples(st.sampled_from([FAILED, FILTERED, STALE]), st.text(max_size=2)), max_size=200))
def test_kinds_are_bounded_and_groups_that_are_taken_back_leave_nothing(ended: list[tuple[GroupState, str]]) -> None:
    counts: dict[str, int] = {}
    for state, reason in ended:
        count_reason(counts, state, reason, 1)
    assert sum(counts.values()) == len(ended)
    assert len(counts) <= 64 + 3
    for state, reason in ended:
        count_reason(counts, state, reason, -1)
    assert all(count > 0 for count in counts.values())


def test_what_comes_after_many_kinds_is_other() -> None:
    counts: dict[str, int] = {}
    for number in range(200):
        count_reason(counts, FAILED, chr(0x4E00 + number), 1)
    assert counts[f"failed: {OTHER}"] == 136
