"""Drawing by deadline: what a step has to take, and that with admission a patient learner loses no group."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from areal_mesh.controller.admission import free_places, publish_due
from areal_mesh.controller.records import GroupCounts
from areal_mesh.replay.deadlines import Choice, DrawRequest, choose
from areal_mesh.replay.drawing import GroupLedger
from areal_mesh.replay.events import Chosen, Dropped, GroupSummary, Stored
from areal_mesh.runtime.settings import RunSettings
from tests.unit.stage_support import run_of


def group(sequence: int, oldest: int) -> GroupSummary:
    return GroupSummary(f"g{sequence}", sequence, oldest, 10)


def test_groups_that_no_later_step_could_train_come_first_then_order_of_lease() -> None:
    stored = [group(5, 1), group(1, 2), group(2, 2), group(4, 1)]
    assert choose(DrawRequest(3, 3, 2, 1), stored, [], patient=True) == Choice(("g4", "g5", "g1"))


def test_too_few_groups_are_no_batch_and_nobody_is_awaited() -> None:
    assert choose(DrawRequest(3, 2, 2, 1), [group(0, 1)], [1], patient=True) == Choice()


def test_groups_that_a_later_step_can_train_are_not_awaited() -> None:
    """Bound 1, version 1: the other step has room for the one that runs under version 1."""
    stored = [group(1, 1), group(2, 1)]
    assert choose(DrawRequest(2, 2, 1, 1), stored, [1], patient=True) == Choice(("g1", "g2"))


def test_a_group_that_is_too_old_already_is_not_awaited() -> None:
    assert choose(DrawRequest(4, 1, 3, 1), [group(1, 3)], [0, 1], patient=True) == Choice(("g1",))


def test_a_draw_waits_before_the_steps_left_are_too_few_for_all_that_run() -> None:
    """Bound 2, batches of two. Four groups of version 0 run at version 1: steps 2 and 3 are theirs alone.

    Were the two of version 1 drawn now, two of the four would be lost whatever came.
    """
    young = [group(6, 1), group(7, 1)]
    request = DrawRequest(2, 2, 1, 2)
    assert choose(request, young, [0, 0, 0, 0], patient=True) == Choice(awaited=2)
    assert choose(request, [*young, group(2, 0)], [0, 0, 0], patient=True) == Choice(awaited=1)
    assert choose(request, [*young, group(2, 0), group(5, 0)], [0, 0], patient=True) == Choice(("g2", "g5"))


def test_without_patience_what_is_due_goes_first_and_others_fill_the_batch() -> None:
    stored = [group(1, 1), group(6, 1), group(7, 0)]
    assert choose(DrawRequest(2, 2, 1, 1), stored, [0, 0], patient=False) == Choice(("g7", "g1"))


@given(order=st.permutations(range(6)))
def test_a_batch_is_the_same_in_whatever_order_its_groups_were_stored(order: list[int]) -> None:
    groups = [group(sequence, sequence // 3) for sequence in range(6)]
    chosen = choose(DrawRequest(2, 4, 1, 1), [groups[index] for index in order], [], patient=True)
    assert chosen == Choice(("g0", "g1", "g2", "g3"))


def test_a_batch_with_a_group_that_is_younger_than_what_was_said_to_run_is_not_chosen() -> None:
    """Bound 1, version 2: a group of version 1 may have been leased since, and this step is its last."""
    stored = [group(4, 1), group(6, 2)]
    told = DrawRequest(3, 2, 2, 1, published_version=1)
    assert choose(told, stored, [], patient=True) == Choice(outdated=True)
    assert choose(told, [*stored, group(5, 1)], [], patient=True) == Choice(("g4", "g5"))
    assert choose(replace(told, published_version=2), stored, [], patient=True) == Choice(("g4", "g6"))
    assert choose(replace(told, published_version=None), stored, [], patient=True) == Choice(("g4", "g6"))
    assert choose(told, stored, [], patient=False) == Choice(("g4", "g6"))


@dataclass(frozen=True)
class Order:
    """What the learner draws with, true when it asked: the groups of older versions, and the published version."""

    running: dict[str, int]
    published: int


@dataclass
class Joined:
    """The real admission and the real ledger; groups finish, and generators lease, as a schedule says."""

    settings: RunSettings
    steps: int
    ledger: GroupLedger = field(default_factory=GroupLedger)
    running: dict[str, GroupSummary] = field(default_factory=dict)
    leased: int = 0
    version: int = 0
    published: int = 0
    stale: list[str] = field(default_factory=list)
    held: int = 0
    filtered: int = 0
    order: Order | None = None

    def lease(self, most: int) -> None:
        batch = self.settings.algorithm.batch_groups
        stored = self.ledger.waiting_groups
        counts = GroupCounts(running=len(self.running), stored=stored, trained=self.version * batch)
        for _ in range(min(most, free_places(self.settings.algorithm, counts, self.published, self.steps))):
            new = group(self.leased, self.published)
            self.running[new.group_id] = new
            self.leased += 1

    def finish(self, index: int) -> None:
        if self.running:
            group_id = list(self.running)[index % len(self.running)]
            self.ledger.apply(Stored(self.running.pop(group_id)))

    def lose(self, index: int) -> None:
        """A generator dies: its group begins anew under the version that is published by now."""
        if self.running:
            group_id = list(self.running)[index % len(self.running)]
            self.running[group_id] = replace(self.running[group_id], oldest_policy_version=self.published)

    def filter(self, index: int) -> None:
        """A group ends with nothing to train on, and gives its place back."""
        if self.running:
            del self.running[list(self.running)[index % len(self.running)]]
            self.filtered += 1

    def draw(self, patient: bool = True) -> bool:
        """Takes a step if its batch is there; whether it was."""
        if self.order is None:
            self.ask()
        assert self.order is not None
        section, told = self.settings.algorithm, self.order
        step = (self.version + 1, section.batch_groups, self.version, section.max_staleness)
        decision = self.ledger.draw(DrawRequest(*step, told.running, told.published), patient)
        self.held += decision.awaited > 0
        for event in decision.events:
            self.ledger.apply(event)
            self.stale += event.group_ids if isinstance(event, Dropped) else ()
        if not any(isinstance(event, Chosen) for event in decision.events):
            self.order = None if decision.outdated else self.order
            return False
        self.version += 1
        # The publish comes when it comes: the next step may be asked for before.
        self.order = None
        return True

    def ask(self) -> None:
        """The learner asks for its step; it draws with what it hears until it asks again."""
        older = {name: one.oldest_policy_version for name, one in self.running.items()}
        told = {name: version for name, version in older.items() if version < self.version}
        self.order = Order(told, self.published)

    def publish(self) -> None:
        """What is due."""
        if publish_due(self.settings.weights, self.version, self.published):
            self.published = self.version

    def run(self, schedule: list[tuple[int, int]], patient: bool = True) -> None:
        """Follows the schedule, then the fair one, until all steps are taken."""
        for act, which in schedule:
            if act == 0:
                self.lease(which)
            elif act == 1:
                self.finish(which)
            elif act == 2 and self.version < self.steps:
                self.draw(patient)
            elif act == 3:
                self.lose(which)
            elif act == 4:
                self.filter(which)
            elif act == 5:
                self.ask()
            elif act == 6:
                self.publish()
        section = self.settings.algorithm
        for _ in range(20 * self.steps * section.batch_groups * (section.max_staleness + 1)):
            if self.version == self.steps:
                return
            self.lease(3)
            self.finish(-1)
            self.ask()
            self.draw(patient)
            self.publish()
        raise AssertionError(f"stuck at version {self.version} of {self.steps}, {len(self.running)} groups run")


SCHEDULES = st.lists(st.tuples(st.sampled_from([0, 1, 1, 2, 2, 3, 4, 5, 6, 6]), st.integers(0, 20)), max_size=150)
LEASED_SINCE = [(0, 1), (1, 0), (2, 0), (5, 0), (0, 1), (6, 0), (0, 1), (1, 1), (2, 0)]
"""Asked for its step, the learner draws after a lease, a publish and another lease, of which the last ends first."""


@given(
    schedule=SCHEDULES,
    batch=st.integers(1, 4),
    bound=st.integers(0, 4),
    sync_every=st.integers(1, 5),
    steps=st.integers(1, 12),
)
@example(schedule=LEASED_SINCE, batch=1, bound=1, sync_every=1, steps=6)
@settings(max_examples=400, deadline=None)
def test_with_admission_a_patient_learner_trains_all_that_is_leased_and_is_never_stuck(
    schedule: list[tuple[int, int]], batch: int, bound: int, sync_every: int, steps: int
) -> None:
    mesh = Joined(run_of(batch_groups=batch, max_staleness=bound, sync_every=min(sync_every, bound + 1)), steps)
    mesh.run(schedule)
    assert not mesh.stale
    assert mesh.leased == steps * batch + mesh.filtered


@pytest.mark.parametrize("bound", [1, 2, 4])
def test_an_impatient_learner_loses_the_groups_that_finish_last(bound: int) -> None:
    """What the property above would not see if nothing were ever at stake."""
    schedule = [(0, 20), *[(1, -1), (1, -1), (5, 0), (2, 0), (6, 0), (0, 20)] * (bound + 2)]
    patient, hasty = (Joined(run_of(max_staleness=bound), bound + 6) for _ in range(2))
    patient.run(schedule)
    hasty.run(schedule, patient=False)
    assert patient.held
    assert not patient.stale
    assert "g0" in hasty.stale
