"""Admission by the staleness bound."""

from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.controller.admission import free_places, publish_due
from areal_mesh.controller.records import GroupCounts
from tests.unit.stage_support import run_of

MANY = 10**6


def test_a_group_may_start_iff_accepted_and_running_are_under_the_bound() -> None:
    settings = run_of(batch_groups=4, max_staleness=1)
    assert free_places(settings.algorithm, GroupCounts(), 0, MANY) == 8
    assert free_places(settings.algorithm, GroupCounts(running=3, stored=4), 0, MANY) == 1
    assert free_places(settings.algorithm, GroupCounts(running=4, stored=4), 0, MANY) == 0
    assert free_places(settings.algorithm, GroupCounts(running=4, trained=4), 1, MANY) == 4


def test_stale_filtered_and_failed_groups_give_their_place_back() -> None:
    settings = run_of(batch_groups=2, max_staleness=0)
    assert free_places(settings.algorithm, GroupCounts(stored=2), 0, MANY) == 0
    assert free_places(settings.algorithm, GroupCounts(stale=5, filtered=4, failed=3), 0, MANY) == 2


def test_nothing_starts_before_the_start_weights_are_published() -> None:
    assert free_places(run_of(batch_groups=4, max_staleness=8).algorithm, GroupCounts(), -1, MANY) == 0


def test_no_more_groups_start_than_the_schedule_can_train() -> None:
    settings = run_of(batch_groups=4, max_staleness=3)
    assert free_places(settings.algorithm, GroupCounts(trained=8), 2, planned_steps=3) == 4
    assert free_places(settings.algorithm, GroupCounts(trained=8, stored=4), 2, planned_steps=3) == 0


def test_without_staleness_a_batch_starts_only_once_the_one_before_is_trained_and_published() -> None:
    settings = run_of(batch_groups=4, max_staleness=0)
    assert free_places(settings.algorithm, GroupCounts(trained=4), 0, MANY) == 0
    assert publish_due(settings.weights, 1, 0)
    assert free_places(settings.algorithm, GroupCounts(trained=4), 1, MANY) == 4


@given(
    batch=st.integers(1, 8),
    bound=st.integers(0, 5),
    sync_every=st.integers(1, 9),
    version=st.integers(0, 50),
)
def test_once_what_is_due_is_published_there_are_places_for_the_next_batch(
    batch: int, bound: int, sync_every: int, version: int
) -> None:
    """Otherwise a learner without a batch would wait for ever."""
    settings = run_of(batch_groups=batch, max_staleness=bound, sync_every=min(sync_every, bound + 1))
    oldest_left = next(p for p in range(-1, version + 1) if not publish_due(settings.weights, version, p))
    places = free_places(settings.algorithm, GroupCounts(trained=version * batch), oldest_left, MANY)
    assert places >= batch


@given(batch=st.integers(1, 4), bound=st.integers(0, 4), sync_every=st.integers(1, 6), steps=st.integers(1, 20))
def test_groups_drawn_in_the_order_of_their_lease_are_within_the_bound(
    batch: int, bound: int, sync_every: int, steps: int
) -> None:
    settings = run_of(batch_groups=batch, max_staleness=bound, sync_every=min(sync_every, bound + 1))
    began_with: list[int] = []
    published = 0
    for version in range(steps):
        if publish_due(settings.weights, version, published):
            published = version
        trained = version * batch
        counts = GroupCounts(trained=trained, stored=len(began_with) - trained)
        began_with += [published] * free_places(settings.algorithm, counts, published, MANY)
        drawn = began_with[trained : trained + batch]
        assert len(drawn) == batch
        assert all(version - oldest <= bound for oldest in drawn)
