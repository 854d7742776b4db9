"""How groups of a run end: once each, by whom, and what is issued again."""

from dataclasses import dataclass

from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.records import GroupState
from areal_mesh.controller.replay_link import reconcile
from areal_mesh.controller.run import Run
from tests.unit.run_scene import LEASE_SECONDS, Scene, lease, state_of, store, take_step


@dataclass
class Found:
    group_id: str
    oldest_policy_version: int = 0
    stale: bool = False
    set_aside: bool = False


def test_group_ends_are_idempotent_and_the_first_one_counts(run: Run) -> None:
    first, second, third, fourth = lease(run, 4)
    for _ in range(2):
        store(run, [first])
        run.groups.filter("generator/a", second, "no verdict")
        run.groups.drop_stale([third], "too old")
    run.groups.filter("generator/a", first, "late")
    run.groups.fail("generator/a", second, "late")
    store(run, [third])
    counts = run.groups.counts
    assert (counts.running, counts.stored, counts.filtered, counts.stale, counts.failed) == (1, 1, 1, 1, 0)
    assert run.ledger.group_counts() == counts
    assert state_of(run, fourth) is GroupState.RUNNING
    assert run.groups.generated_tokens == 20, "the stale group's tokens were generated all the same"


def test_a_failed_group_is_retried_and_then_ends_as_failed(run: Run) -> None:
    (group_id,) = lease(run, 1)
    run.groups.fail("generator/a", group_id, "engine")
    assert lease(run, 1, "generator/b") == [group_id]
    run.groups.fail("generator/b", group_id, "engine")
    assert state_of(run, group_id) is GroupState.FAILED
    assert lease(run, 1) == ["g00000001"], "its place is free"


def test_a_group_handed_back_costs_no_attempt(run: Run) -> None:
    (group_id,) = lease(run, 1)
    for _ in range(5):
        run.groups.give_back("generator/a", [group_id])
        assert lease(run, 1) == [group_id]
    row = run.ledger.group(group_id)
    assert row is not None
    assert row.attempt == 0


def test_only_the_holder_may_end_a_lease_but_anyone_may_say_that_a_group_is_stored(run: Run) -> None:
    (group_id,) = lease(run, 1)
    run.groups.free("generator/a", "lost")
    assert lease(run, 1, "generator/b") == [group_id]
    run.groups.filter("generator/a", group_id, "late")
    assert state_of(run, group_id) is GroupState.RUNNING
    store(run, [group_id])
    assert state_of(run, group_id) is GroupState.STORED
    assert run.groups.renew("generator/b", [group_id]) == []


def test_a_lease_lapses_unless_a_heartbeat_names_it(scene: Scene, run: Run) -> None:
    kept, lapsed = lease(run, 2)
    scene.now += 8
    assert run.groups.renew("generator/a", [kept]) == []
    scene.now += 8
    assert [row.group_id for row in run.groups.expire()] == [lapsed]
    assert run.groups.renew("generator/a", [kept, lapsed]) == [lapsed]


def test_a_group_keeps_the_stage_it_began_with(run: Run) -> None:
    take_step(run)
    (group_id,) = lease(run, 1)
    run.advance_stage(0)
    run.groups.free("generator/a", "lost")
    again, fresh = run.lease("generator/b", 2, str)
    assert (again.group_id, again.stage, fresh.stage) == (group_id, 0, 1)


def test_tokens_that_a_generator_had_no_time_to_report_count_once_their_group_is_trained(
    scene: Scene, run: Run
) -> None:
    reported, found, leased = lease(run, 3)
    store(run, [reported])
    run.groups.found_stored({found: 0})
    run = scene.killed()
    assert run.commit(1, [reported, found, leased], {"response_tokens": 35.0}, {0: 3}, [10, 12, 13])
    assert (run.groups.generated_tokens, run.totals.tokens) == (35, 35)
    run.groups.store(found, StoredFigures(0, 12))
    run = scene.killed()
    assert (run.groups.generated_tokens, run.totals.tokens) == (35, 35)


def test_a_late_report_of_a_stored_group_leaves_why_it_ended(scene: Scene, run: Run) -> None:
    aside, stale = lease(run, 2)
    run.groups.set_aside({aside: "token 100000 is outside the vocabulary"})
    run.groups.drop_stale([stale], "2 versions old")
    store(run, [aside, stale])
    for when in ("now", "after a restart"):
        rows = [run.groups.find(group_id) for group_id in (aside, stale)]
        assert [row and (row.state, row.reason, row.tokens) for row in rows] == [
            (GroupState.FILTERED, "set aside: token 100000 is outside the vocabulary", 10),
            (GroupState.STALE, "2 versions old", 10),
        ], when
        run = scene.killed()


def test_a_late_report_of_a_trained_group_counts_where_the_learner_did_not_say(run: Run) -> None:
    (group_id, other) = lease(run, 2)
    assert run.commit(1, [group_id, other], {}, {0: 2})
    store(run, [group_id])
    assert run.groups.generated_tokens == 10


def test_leases_of_before_a_restart_hold_for_one_more_lease_time(scene: Scene, run: Run) -> None:
    kept, lost = lease(run, 2)
    scene.now += 100
    run = scene.killed()
    assert run.groups.expire() == []
    assert run.groups.renew("generator/a", [kept]) == []
    scene.now += LEASE_SECONDS - 1
    assert run.groups.renew("generator/a", [kept]) == []
    scene.now += 2
    assert [row.group_id for row in run.groups.expire()] == [lost]


def test_reconciling_with_the_replay_buffer(run: Run) -> None:
    stored_unsaid, stale_unsaid, lost, still_running = lease(run, 4)
    store(run, [stale_unsaid, lost])
    asked = run.groups.open.all()
    assert reconcile(run, asked, [Found(stored_unsaid, 0), Found(stale_unsaid, 0, stale=True)]) > 0
    assert state_of(run, stored_unsaid) is GroupState.STORED
    assert state_of(run, stale_unsaid) is GroupState.STALE
    assert state_of(run, still_running) is GroupState.RUNNING
    assert lease(run, 1, "generator/b") == [lost]
    assert reconcile(run, asked, [Found(stored_unsaid, 0), Found(stale_unsaid, 0, stale=True)]) == 0
    store(run, [stored_unsaid])
    row = run.ledger.group(stored_unsaid)
    assert row is not None
    assert row.tokens == 10, "a late end still brings its figures"
