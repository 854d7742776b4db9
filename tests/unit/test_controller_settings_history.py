"""Settings changed between two sittings: kept with the step they hold from; more steps open a finished run."""

import json

from areal_mesh.controller.run import Run
from areal_mesh.controller.settings_history import HISTORY
from tests.unit.run_scene import Scene, begun_with, take_step
from tests.unit.stage_support import stage


def history_of(run: Run) -> list[tuple[int, str, object, object]]:
    kept = json.loads(run.ledger.read(HISTORY) or "[]")
    return [(entry["from_step"], entry["key"], entry["before"], entry["now"]) for entry in kept]


def to_the_end(scene: Scene, run: Run) -> None:
    while not run.finished:
        take_step(run)
        scene.publish(run, run.version)


def test_what_is_changed_is_kept_with_the_step_it_holds_from(scene: Scene, run: Run) -> None:
    take_step(run)
    assert history_of(scene.killed()) == []
    scene.settings = scene.settings.model_copy(
        update={"learner": scene.settings.learner.model_copy(update={"learning_rate": 2e-5})}
    )
    assert history_of(scene.killed()) == [(2, "learner.learning_rate", 1e-5, 2e-5)]
    assert len(history_of(scene.killed())) == 1, "a restart is no change"


def test_a_finished_run_that_is_given_more_steps_takes_them(scene: Scene, run: Run) -> None:
    to_the_end(scene, run)
    run.learner_left()
    assert scene.killed().finished
    scene.settings = begun_with(stage("short", 8, 2), stage("long", 16, 3))
    run = scene.killed()
    assert (run.finished, run.learner_gone, run.planned_steps) == (False, False, 5)
    order = run.next_step(4)
    assert order is not None
    assert (order.step, order.stage, order.restarts.optimizer) == (5, 1, False)
    to_the_end(scene, run)
    assert run.version == 5
    assert history_of(run) == [(5, "stages.1.max_steps", 2, 3)]


def test_a_stage_is_added_to_a_finished_run(scene: Scene, run: Run) -> None:
    to_the_end(scene, run)
    scene.settings = begun_with(stage("short", 8, 2), stage("long", 16, 2), stage("longest", 24, 2))
    run = scene.killed()
    assert (run.stage, run.stages[-1].reason, run.planned_steps) == (2, "the schedule was changed", 6)
    order = run.next_step(4)
    assert order is not None
    assert (order.stage, order.restarts.optimizer) == (2, True)
    to_the_end(scene, run)
    assert run.version == 6


def test_fewer_steps_do_not_open_a_run_that_a_rule_or_its_schedule_ended(scene: Scene, run: Run) -> None:
    to_the_end(scene, run)
    scene.settings = begun_with(stage("short", 8, 2), stage("long", 16, 1))
    assert scene.killed().finished


def test_a_stage_that_is_cut_short_is_left_at_the_next_start(scene: Scene, run: Run) -> None:
    scene.settings = begun_with(stage("short", 8, 3), stage("long", 16, 2))
    run = scene.killed()
    take_step(run)
    take_step(run)
    assert run.stage == 0
    scene.settings = begun_with(stage("short", 8, 2), stage("long", 16, 2))
    run = scene.killed()
    assert (run.stage, run.planned_steps) == (1, 4)
