"""Groups set aside: the rest of the batch waits again by order of lease, in any order of recovery."""

import pytest

from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import GroupLedger, NotInBatch
from areal_mesh.replay.events import (
    WAS_SET_ASIDE,
    Chosen,
    Dropped,
    Event,
    GroupSummary,
    Released,
    RetiredGroup,
    SetAside,
    Stored,
    decode,
    encode,
)


def stored(group_id: str, oldest: int = 0) -> Stored:
    """Leased in the order of the alphabet."""
    return Stored(GroupSummary(group_id, ord(group_id[0]), oldest, 10))


def ledger_of(*events: Event) -> GroupLedger:
    ledger = GroupLedger()
    for event in events:
        ledger.apply(event)
    return ledger


def test_the_others_of_a_batch_are_drawn_again_first() -> None:
    ledger = ledger_of(*(stored(name) for name in "abc"), Chosen(1, ("a", "b")))
    [event] = ledger.set_aside(1, ["a"])
    assert event == SetAside(1, ("a",))
    assert ledger.apply(event) == ("a",)
    assert ledger.waiting_bytes == 20
    assert ledger.draw(DrawRequest(1, 2, 0, 1)).events == (Chosen(1, ("b", "c")),)
    assert ledger.describe("a") == RetiredGroup("a", 0, WAS_SET_ASIDE)
    assert ledger.set_aside(1, ["a"]) == [], "again it changes nothing"
    assert ledger.set_aside_groups == 1


def test_only_groups_of_the_batch_are_set_aside() -> None:
    ledger = ledger_of(stored("a"), stored("b"), Chosen(1, ("a",)))
    for step, group_id in ((1, "b"), (2, "a"), (1, "unknown")):
        with pytest.raises(NotInBatch):
            ledger.set_aside(step, [group_id])


def test_what_was_set_aside_is_known_after_its_segment_is_deleted() -> None:
    ledger = GroupLedger()
    ledger.restore(1, [RetiredGroup("a", 0, WAS_SET_ASIDE)])
    assert ledger.knows("a")
    assert ledger.describe("a") == RetiredGroup("a", 0, WAS_SET_ASIDE)


def test_a_release_that_is_known_before_the_records_keeps_the_others_drawable() -> None:
    ledger = GroupLedger()
    ledger.restore(1, [RetiredGroup("gone", 0, -1)])
    for event in (stored("a"), stored("b"), Chosen(1, ("gone", "a", "b")), Released(0), SetAside(1, ("a",))):
        ledger.apply(event)
    ledger.apply(Dropped(("b",), 9, 0))
    assert ledger.end_released() == ()
    assert ledger.waiting_groups == 0


def test_released_batches_end_once_all_records_are_read() -> None:
    ledger = GroupLedger()
    ledger.restore(1, [])
    ledger.apply(stored("a"))
    assert ledger.apply(Chosen(1, ("a",))) == ()
    assert ledger.end_released() == ("a",)


def test_the_record_of_it_reads_back() -> None:
    kind, parts = encode(SetAside(7, ("a", "b")))
    assert decode(kind, b"".join(parts)) == SetAside(7, ("a", "b"))
