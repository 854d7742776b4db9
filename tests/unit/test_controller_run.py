"""The run over its ledger: steps, stages, pauses, and that a killed controller finds them again."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from areal_mesh.controller.condition import CHECKPOINT_STEP
from areal_mesh.controller.ledger import Ledger, LedgerError
from areal_mesh.controller.records import RunState
from areal_mesh.controller.run import Run
from areal_mesh.controller.schedule import Restarts
from areal_mesh.runtime.errors import MeshError
from tests.unit.run_scene import Scene, begun_with, lease, store, take_step
from tests.unit.stage_support import stage


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


def test_a_checkpoint_that_was_asked_for_is_wanted_after_the_step_in_progress(scene: Scene, run: Run) -> None:
    take_step(run)
    assert run.ask_for_checkpoint() == 2
    run = scene.killed()
    assert run.ledger.read(CHECKPOINT_STEP) == "2"
    take_step(run)
    assert run.ask_for_checkpoint() == 3
    assert run.ledger.read(CHECKPOINT_STEP) == "3"


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


@pytest.mark.parametrize("call", [Run.pause, Run.resume, Run.ask_for_checkpoint, lambda run: run.advance_stage(0)])
def test_a_run_that_is_stopping_cannot_be_steered(run: Run, call: Callable[[Run], object]) -> None:
    run.pause()
    run.stop("enough")
    with pytest.raises(MeshError, match=r"the run is stopping and nothing new starts; .* `areal-mesh up`") as raised:
        call(run)
    assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (run.stage, run.paused) == (0, True)


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
