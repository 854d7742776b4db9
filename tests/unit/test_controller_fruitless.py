"""Groups that end in a row with nothing stored: when a run is hopeless, and the reasons it gives."""

from areal_mesh.controller.run import Run
from tests.unit.run_scene import Scene, begun_with, lease, store


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
