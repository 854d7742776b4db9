"""The ledger: each group ends once, nothing stale is drawn, a redraw is identical, replaying gives the same state."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import Decision, GroupLedger, StepReleased
from areal_mesh.replay.events import Chosen, Dropped, Event, GroupSummary, Released, RetiredGroup, Stored

BATCH = 3


def stored(name: str, oldest: int = 0, size: int = 10, sequence: int = 0) -> Stored:
    return Stored(GroupSummary(name, sequence, oldest, size))


def ledger_of(*events: Event) -> GroupLedger:
    ledger = GroupLedger()
    for event in events:
        ledger.apply(event)
    return ledger


def perform(ledger: GroupLedger, decided: list[Event]) -> list[Event]:
    for event in decided:
        ledger.apply(event)
    return decided


def drawn(ledger: GroupLedger, step: int, groups: int, version: int, bound: int) -> list[Event]:
    """What a draw decides that waits for nobody."""
    return list(ledger.draw(DrawRequest(step, groups, version, bound), patient=False).events)


def test_groups_are_drawn_in_the_order_of_their_lease_whoever_finished_first() -> None:
    ledger = ledger_of(stored("b", sequence=1), stored("c", sequence=2), stored("a", sequence=0))
    assert drawn(ledger, 1, 2, 0, 0) == [Chosen(1, ("a", "b"))]


def test_a_draw_is_held_for_a_running_group_until_it_is_stored_or_patience_is_over() -> None:
    ledger = ledger_of(stored("a", 0, sequence=1), stored("b", 1, sequence=2))
    request = DrawRequest(2, 2, 1, 1, running={"slow": 0})
    assert ledger.draw(request) == Decision(awaited=1)
    assert ledger.draw(request, patient=False) == Decision((Chosen(2, ("a", "b")),))
    perform(ledger, [stored("slow", 0, sequence=0)])
    assert ledger.draw(request) == Decision((Chosen(2, ("slow", "a")),))


def test_a_running_group_that_is_stored_or_ended_here_is_not_awaited() -> None:
    ledger = ledger_of(stored("a"), stored("dropped"), Dropped(("dropped",), 3, 0))
    assert ledger.draw(DrawRequest(1, 1, 0, 0, running={"a": 0, "dropped": 0})) == Decision((Chosen(1, ("a",)),))


def test_too_few_groups_decide_nothing() -> None:
    assert drawn(ledger_of(stored("a")), 1, 2, 0, 0) == []


def test_staleness_at_the_bound_is_drawn_and_over_it_is_dropped() -> None:
    ledger = ledger_of(stored("old", 3), stored("at the bound", 4), stored("fresh", 5))
    assert drawn(ledger, 6, 2, 5, 1) == [Dropped(("old",), 5, 6), Chosen(6, ("at the bound", "fresh"))]


def test_stale_groups_are_dropped_though_the_batch_is_not_complete() -> None:
    ledger = ledger_of(stored("old", 0), stored("fresh", 2))
    perform(ledger, drawn(ledger, 3, 2, 2, 1))
    assert ledger.stale_of_step(3) == ("old",)
    assert ledger.waiting_groups == 1
    perform(ledger, [stored("new", 2)])
    perform(ledger, drawn(ledger, 3, 2, 2, 1))
    assert ledger.batch(3) == ("fresh", "new")
    assert ledger.stale_of_step(3) == ("old",)


def test_a_step_drawn_again_at_a_later_version_keeps_its_batch() -> None:
    ledger = ledger_of(stored("a"), stored("b"))
    perform(ledger, drawn(ledger, 1, 2, 0, 0))
    assert drawn(ledger, 1, 2, 9, 0) == []
    assert ledger.batch(1) == ("a", "b")


def test_eviction_spares_groups_that_a_batch_holds() -> None:
    ledger = ledger_of(stored("held"), stored("waits"))
    perform(ledger, drawn(ledger, 1, 1, 0, 0))
    assert perform(ledger, ledger.evict(5, 1)) == [Dropped(("waits",), 5, 0)]
    assert ledger.evict(5, 1) == []
    assert ledger.stale_since(5) == ("waits",)
    assert ledger.stale_since(6) == ()


def test_a_released_step_cannot_be_drawn() -> None:
    ledger = ledger_of(stored("a"), Chosen(1, ("a",)))
    assert ledger.apply(Released(1)) == ("a",)
    assert ledger.knows("a")
    assert ledger.release(1) == []
    with pytest.raises(StepReleased, match="step 1"):
        drawn(ledger, 1, 1, 0, 0)


@pytest.mark.parametrize(
    "event", [stored("a"), Chosen(2, ("a",)), Chosen(1, ("b",)), Dropped(("a",), 1, 0), Chosen(2, ("unknown",))]
)
def test_an_event_that_contradicts_earlier_ones_is_refused(event: Event) -> None:
    with pytest.raises(ValueError, match=r"twice|not waiting"):
        ledger_of(stored("a"), stored("b"), Chosen(1, ("a",))).apply(event)


def test_what_outlives_a_segment_keeps_the_ends_of_its_groups() -> None:
    ledger = GroupLedger()
    ledger.restore(4, [RetiredGroup("trained", 2, -1), RetiredGroup("stale", 1, 3)])
    assert ledger.released_step == 4
    assert ledger.stale_since(3) == ("stale",)
    assert ledger.waiting_groups == 0
    assert ledger.describe("trained") == RetiredGroup("trained", 2, -1)
    # The records of these decisions may lie in segments that are still there.
    assert ledger.apply(Chosen(4, ("trained",))) == ()
    assert ledger.apply(Dropped(("stale",), 3, 4)) == ()
    assert ledger.stale_since(3) == ("stale",)
    with pytest.raises(ValueError, match="twice"):
        ledger.apply(stored("trained"))


class LedgerMachine(RuleBasedStateMachine):
    """Any order of storing, drawing, evicting and releasing, against plain facts kept beside."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = GroupLedger()
        self.events: list[Event] = []
        self.version = 0
        self.oldest: dict[str, int] = {}
        self.ends: dict[str, str] = {}
        self.batches: dict[int, tuple[str, ...]] = {}

    def perform(self, decided: list[Event], bound: int) -> None:
        for event in decided:
            self.events.append(event)
            self.ledger.apply(event)
            ids = event.group_ids if isinstance(event, Chosen | Dropped) else ()
            for group_id in ids:
                staleness = self.version - self.oldest[group_id]
                assert (staleness > bound) == isinstance(event, Dropped)
                assert group_id not in self.ends
                self.ends[group_id] = "trained" if isinstance(event, Chosen) else "stale"

    @rule(lag=st.integers(min_value=0, max_value=4), size=st.integers(min_value=1, max_value=100))
    def store(self, lag: int, size: int) -> None:
        name = f"group-{len(self.oldest)}"
        self.oldest[name] = max(0, self.version - lag)
        self.perform([stored(name, self.oldest[name], size)], 0)

    @rule(index=st.integers(min_value=0))
    def store_again(self, index: int) -> None:
        if self.oldest:
            name = list(self.oldest)[index % len(self.oldest)]
            assert self.ledger.knows(name)

    @rule(bound=st.integers(min_value=0, max_value=3))
    def draw_next(self, bound: int) -> None:
        step = len(self.batches) + 1
        self.perform(drawn(self.ledger, step, BATCH, self.version, bound), bound)
        batch = self.ledger.batch(step)
        if batch is not None:
            assert len(batch) == BATCH
            self.batches[step] = batch
            self.version += 1

    @rule(bound=st.integers(min_value=0, max_value=3), index=st.integers(min_value=0))
    def draw_again(self, bound: int, index: int) -> None:
        kept = [step for step in self.batches if step > self.ledger.released_step]
        if kept:
            step = kept[index % len(kept)]
            assert drawn(self.ledger, step, BATCH, self.version, bound) == []
            assert self.ledger.batch(step) == self.batches[step]

    @rule(bound=st.integers(min_value=0, max_value=3))
    def evict(self, bound: int) -> None:
        self.perform(self.ledger.evict(self.version, bound), bound)

    @rule(back=st.integers(min_value=0, max_value=2))
    def release(self, back: int) -> None:
        self.perform(self.ledger.release(len(self.batches) - back), 0)

    @rule()
    def replay_the_log(self) -> None:
        again = ledger_of(*self.events)
        for step in range(self.ledger.released_step + 1, len(self.batches) + 1):
            assert again.batch(step) == self.ledger.batch(step)
        assert again.stale_since(0) == self.ledger.stale_since(0)
        self.ledger = again

    @invariant()
    def every_group_waits_or_has_ended(self) -> None:
        stale = [name for name, end in self.ends.items() if end == "stale"]
        assert self.ledger.waiting_groups == len(self.oldest) - len(self.ends)
        assert self.ledger.stale_groups == len(stale)
        assert sorted(self.ledger.stale_since(0)) == sorted(stale)
        assert sum(self.ledger.staleness(self.version).values()) == self.ledger.waiting_groups
        waiting = (
            event.group for event in self.events if isinstance(event, Stored) and event.group.group_id not in self.ends
        )
        assert self.ledger.waiting_bytes == sum(group.size for group in waiting)


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLedger = LedgerMachine.TestCase
