"""The run over its ledger: what each call decides, and that a killed controller finds it again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.group_changes import StoredFigures
from areal_mesh.controller.ledger import Ledger, LedgerError
from areal_mesh.controller.records import GroupState, PublishRow, RunState
from areal_mesh.controller.replay_link import reconcile
from areal_mesh.controller.run import Run
from areal_mesh.controller.schedule import Restarts
from areal_mesh.runtime.errors import MeshError
from areal_mesh.runtime.settings import RunSettings, StageSettings
from tests.unit.stage_support import run_of, stage

LEASE_SECONDS = 10.0


@dataclass
class Found:
    group_id: str
    oldest_policy_version: int = 0
    stale: bool = False
    set_aside: bool = False


def begun_with(*stages: StageSettings, **chosen: Any) -> RunSettings:
    return run_of(*stages, lease_seconds=LEASE_SECONDS, group_attempts=2, **chosen)


@dataclass
class Scene:
    """A run whose controller can be killed; `holder` leases."""

    path: Path
    settings: RunSettings
    now: float = 1000.0
    ledgers: list[Ledger] = field(default_factory=list)

    def open(self) -> Run:
        ledger = Ledger(self.path)
        self.ledgers.append(ledger)
        return Run(self.settings, ledger, Clock(lambda: self.now, lambda: self.now))

    def killed(self) -> Run:
        self.ledgers[-1].close()
        return self.open()

    def publish(self, run: Run, version: int) -> None:
        run.published(PublishRow(version, self.now, 0.1, 0.2, 0.3, 10, ("generator/a",), "agreed"))


def lease(run: Run, most: int, holder: str = "generator/a") -> list[str]:
    return [row.group_id for row in run.lease(holder, most, str)]


def store(run: Run, group_ids: list[str], version: int = 0) -> None:
    for group_id in group_ids:
        run.groups.store(group_id, StoredFigures(version, 10))


def take_step(run: Run) -> None:
    """Leases, stores and commits the batch of the next step."""
    batch = lease(run, run.settings.algorithm.batch_groups)
    store(run, batch)
    assert run.next_step(run.version) is not None
    assert run.commit(run.version + 1, batch, {"reward": 1.0}, {0: len(batch)})


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    stages = (
        stage("short", 8, 2),
        stage("long", 16, 2),
    )
    scene = Scene(tmp_path / "ledger.db", begun_with(*stages))
    yield scene
    for ledger in scene.ledgers:
        ledger.close()


@pytest.fixture
def run(scene: Scene) -> Run:
    run = scene.open()
    scene.publish(run, 0)
    return run


def state_of(run: Run, group_id: str) -> GroupState:
    row = run.ledger.group(group_id)
    assert row is not None
    return row.state


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


def test_a_commit_is_idempotent_and_steps_follow_each_other(run: Run) -> None:
    batch = lease(run, 2)
    store(run, batch)
    assert run.commit(1, batch, {"reward": 1.0}, {0: 2})
    assert not run.commit(1, batch, {"reward": 9.0}, {0: 2})
    assert next(run.ledger.steps()).metrics == {"reward": 1.0}
    with pytest.raises(MeshError, match="cannot follow"):
        run.commit(3, batch, {}, {})
    with pytest.raises(MeshError, match="no group is trained twice"):
        run.commit(2, batch, {}, {})


def test_a_group_in_a_committed_batch_is_trained_whatever_was_thought_of_it(run: Run) -> None:
    first, second = lease(run, 2)
    run.groups.fail("generator/a", first, "engine")
    assert lease(run, 1) == [first]
    run.groups.fail("generator/a", first, "engine")
    assert run.commit(1, [first, second], {}, {})
    counts = run.groups.counts
    assert (counts.trained, counts.failed, counts.running) == (2, 0, 0)
    assert run.ledger.group_counts() == counts


def test_stages_follow_the_schedule_and_a_killed_controller_finds_everything_again(scene: Scene, run: Run) -> None:
    for step in range(1, 5):
        order = run.next_step(step - 1)
        assert order is not None
        restarts = Restarts(True, True) if step == 3 else Restarts()
        assert (order.step, order.stage, order.restarts) == (step, (step - 1) // 2, restarts)
        batch = lease(run, 2)
        store(run, batch, run.published_version)
        run.commit(step, batch, {"reward": float(step)}, {0: 2})
        scene.publish(run, step)
        run = scene.killed()
        assert (run.version, run.published_version, run.totals.tokens) == (step, step, 20 * step)
    assert run.state is RunState.FINISHED
    assert run.next_step(4) is None
    assert lease(run, 1) == []
    again = run.next_step(2)
    assert again is not None, "a learner that came back older still goes through the steps"
    assert (again.step, again.stage, again.restarts.optimizer) == (3, 1, True)


def test_a_stage_advanced_by_hand_starts_after_the_step_in_progress(scene: Scene, run: Run) -> None:
    scene.settings = begun_with(stage("short", 8, 9), scene.settings.stages[1])
    run = scene.killed()
    take_step(run)
    assert run.next_step(1) is not None
    run = scene.killed()
    entry = run.advance_stage(0)
    assert (entry.stage, entry.first_step, entry.reason) == (1, 3, "by hand")
    with pytest.raises(MeshError, match=r"^stage short \(1 of 2\) is not the current one; stage long \(2 of 2\) is$"):
        run.advance_stage(0)
    with pytest.raises(MeshError, match=r"^stage long \(2 of 2\) is the last one; `areal-mesh stop` ends the run$"):
        run.advance_stage(1)
    with pytest.raises(MeshError, match=r"^from_stage = 2 is not the current one"):
        run.advance_stage(2)
    order = run.next_step(1)
    assert order is not None
    assert order.stage == 0
    assert run.planned_steps == 4


def test_no_stage_is_passed_over_whole_by_hand(scene: Scene) -> None:
    stages = tuple(stage(name, 8, 9) for name in ("first", "second", "third"))
    scene.settings = begun_with(*stages)
    run = scene.open()
    refused = r"^stage {} has no step yet and would be passed over whole; ask after its first"
    assert run.next_step(0) is not None, "the learner waits for its first batch while the run starts"
    with pytest.raises(MeshError, match=refused.format(r"first \(1 of 3\)")):
        run.advance_stage(0)
    scene.publish(run, 0)
    take_step(run)
    run.advance_stage(0)
    with pytest.raises(MeshError, match=refused.format(r"second \(2 of 3\)")):
        run.advance_stage(1)
    take_step(run)
    assert [(entry.stage, entry.first_step) for entry in run.stages] == [(0, 1), (1, 2)]
    assert [row.stage for row in run.recent] == [0, 1]


def test_tokens_that_a_generator_had_no_time_to_report_count_once_their_group_is_trained(
    scene: Scene, run: Run
) -> None:
    reported, found, leased = lease(run, 3)
    store(run, [reported])
    run.groups.found_stored(found, 0)
    run = scene.killed()
    assert run.commit(1, [reported, found, leased], {"response_tokens": 35.0}, {0: 3}, [10, 12, 13])
    assert (run.groups.generated_tokens, run.totals.tokens) == (35, 35)
    run.groups.store(found, StoredFigures(0, 12))
    run = scene.killed()
    assert (run.groups.generated_tokens, run.totals.tokens) == (35, 35)


def test_a_late_report_of_a_trained_group_counts_where_the_learner_did_not_say(run: Run) -> None:
    (group_id, other) = lease(run, 2)
    assert run.commit(1, [group_id, other], {}, {0: 2})
    store(run, [group_id])
    assert run.groups.generated_tokens == 10


def test_steps_without_an_update_are_counted_over_restarts(scene: Scene, run: Run) -> None:
    for step, updates in ((1, 4.0), (2, 0.0), (3, 0.0)):
        batch = lease(run, 2)
        store(run, batch)
        run.commit(step, batch, {"optimizer_updates": updates}, {0: 2})
        scene.publish(run, step)
    assert run.totals.without_update == 2
    assert scene.killed().totals.without_update == 2


def test_a_step_has_its_rates_and_the_time_between_two_lives_counts_in_none(scene: Scene, run: Run) -> None:
    for _ in range(2):
        take_step(run)
        scene.publish(run, run.version)
        scene.now += 4
    assert run.recent[0].metrics == {"reward": 1.0}, "one step has no time to be measured over"
    assert run.recent[1].metrics["trained_tokens_per_second"] == 5
    scene.now += 1000
    run = scene.killed()
    take_step(run)
    assert "trained_tokens_per_second" not in run.recent[2].metrics
    scene.publish(run, 3)
    scene.now += 2
    take_step(run)
    assert run.recent[3].metrics["trained_tokens_per_second"] == 10
    assert run.recent[3].metrics["generated_tokens_per_second"] == 10


def test_a_learner_ahead_of_the_ledger_is_told_what_to_do(run: Run) -> None:
    with pytest.raises(MeshError, match="was never committed") as raised:
        run.next_step(2)
    assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_pause_and_stop_outlive_the_controller(scene: Scene, run: Run) -> None:
    run.pause()
    run = scene.killed()
    assert run.state is RunState.PAUSED
    assert run.admits() == 0
    run.resume()
    run.stop("enough")
    run = scene.killed()
    assert run.state is RunState.STOPPING
    assert run.next_step(0) is None
    run.leave()
    assert scene.killed().state is RunState.RUNNING


@pytest.mark.parametrize("call", [Run.pause, Run.resume, lambda run: run.advance_stage(0)])
def test_a_run_that_is_stopping_cannot_be_steered(run: Run, call: Callable[[Run], object]) -> None:
    run.pause()
    run.stop("enough")
    with pytest.raises(MeshError, match=r"the run is stopping and nothing new starts; .* `areal-mesh up`") as raised:
        call(run)
    assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (run.stage, run.paused) == (0, True)


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


@pytest.mark.parametrize(("batch_groups", "stages"), [(2, 1), (5, 2)])
def test_a_ledger_begun_with_other_settings_is_refused(scene: Scene, run: Run, batch_groups: int, stages: int) -> None:
    take_step(run)
    run.advance_stage(0)
    scene.settings = begun_with(*scene.settings.stages[:stages], batch_groups=batch_groups)
    with pytest.raises(LedgerError, match="give the run another name"):
        scene.killed()


def test_a_schedule_that_leaves_no_step_is_refused(scene: Scene, run: Run) -> None:
    batch = lease(run, scene.settings.algorithm.batch_groups)
    store(run, batch)
    run.commit(1, batch, {"reward": 1.0}, {0: len(batch)})
    scene.settings = begun_with(stage("short", 8, 1))
    with pytest.raises(LedgerError, match=r"1 steps are done and the schedule ends after 1.*raise max_steps"):
        scene.killed()


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("not a database, but long enough to be taken for the head of one" * 50)
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        Ledger(path)


def end_all(run: Run, group_ids: list[str], reason: str) -> None:
    for group_id in group_ids:
        run.groups.filter("generator/a", group_id, reason)


def test_groups_that_end_in_a_row_with_nothing_stored_make_a_run_hopeless(scene: Scene) -> None:
    scene.settings = begun_with(*scene.settings.stages, fruitless_groups=3)
    run = scene.open()
    scene.publish(run, 0)
    end_all(run, lease(run, 2), "prompt too long: 80 tokens, prompts.max_prompt_tokens = 64")
    assert run.hopeless == ""
    end_all(run, lease(run, 1), "prompt too long: 99 tokens, prompts.max_prompt_tokens = 64")
    assert run.hopeless.startswith(
        "3 groups in a row ended filtered or failed, and none was stored; 3 of them: prompt too long: 99 tokens, "
        "prompts.max_prompt_tokens = 64. "
    )
    assert "controller.fruitless_groups = 3" in run.hopeless
    again = scene.killed()
    assert again.hopeless == "", "a life that follows tries anew"
    assert again.groups.end_reasons == {"filtered: prompt too long: N tokens, prompts.max_prompt_tokens = N": 3}


def test_a_stored_group_breaks_the_row_and_attempts_count_as_one_end(scene: Scene) -> None:
    scene.settings = begun_with(*scene.settings.stages, fruitless_groups=2)
    run = scene.open()
    scene.publish(run, 0)
    end_all(run, lease(run, 1), "no")
    store(run, lease(run, 1))
    end_all(run, lease(run, 1), "no")
    assert run.hopeless == ""
    (group_id,) = lease(run, 1)
    run.groups.fail("generator/a", group_id, "RuntimeError: out of memory")
    assert run.hopeless == "", "it is issued again"
    assert lease(run, 1) == [group_id]
    run.groups.fail("generator/a", group_id, "RuntimeError: out of memory")
    assert run.hopeless
    assert run.groups.end_reasons == {"failed: RuntimeError: out of memory": 1, "filtered: no": 2}


def test_an_outage_that_ends_what_is_in_flight_makes_no_run_hopeless(scene: Scene) -> None:
    scene.settings = begun_with(*scene.settings.stages, fruitless_groups=2)
    run = scene.open()
    scene.publish(run, 0)
    group_ids = lease(run, 4)
    end_all(run, group_ids[:2], "verifier error")
    assert run.hopeless == "", "two more may end for the same outage"
    end_all(run, group_ids[2:3], "verifier error")
    assert run.hopeless, "three of four is more than the outage's share"


def test_no_row_is_too_long_where_the_settings_set_no_bound(run: Run) -> None:
    for _ in range(300):
        end_all(run, lease(run, 1), "no")
    assert run.hopeless == ""
    assert run.groups.fruitless.length == 300


def test_reasons_follow_the_ends_of_groups_that_a_batch_trained_on_after_all(run: Run) -> None:
    group_ids = lease(run, 2)
    store(run, group_ids)
    run.groups.drop_stale(group_ids[:1], "too old to be drawn at version 3")
    assert run.groups.end_reasons == {"stale: too old to be drawn at version N": 1}
    run.commit(1, group_ids, {"reward": 1.0}, {0: 2})
    assert run.groups.end_reasons == {}
