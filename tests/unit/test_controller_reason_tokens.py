"""Groups that were not trained on are counted with their lengths by reason, and give their places back."""

from pathlib import Path

import grpc
import pytest

from areal_mesh.controller.calls.claims import check_tokens
from areal_mesh.controller.run import Run
from areal_mesh.controller.totals import GroupTotals
from areal_mesh.runtime.errors import MeshError
from areal_mesh.v1 import controller_pb2
from tests.unit.run_scene import Scene, begun_with, lease, store, take_step
from tests.unit.stage_support import stage

HOLDER = "generator/a"
WRONG, RIGHT = "filter equal_verdicts: all incorrect", "filter equal_verdicts: all correct"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "ledger.db", begun_with(stage("8", 64, 10)))


@pytest.fixture
def run(scene: Scene) -> Run:
    run = scene.open()
    scene.publish(run, 0)
    return run


def test_filtered_groups_count_by_reason_with_their_mean_length_over_a_restart(scene: Scene, run: Run) -> None:
    places = len(lease(run, 100))
    ids = [row.group_id for row in run.groups.open.held_by(HOLDER)]
    run.groups.filter(HOLDER, ids[0], WRONG, 60)
    run.groups.filter(HOLDER, ids[1], WRONG, 20)
    assert lease(run, 100), "filtered groups give their places back"
    again = [row.group_id for row in run.groups.open.held_by(HOLDER)]
    assert len(again) == places
    run.groups.filter(HOLDER, again[-1], RIGHT, 10)
    run.groups.filter(HOLDER, again[-2], "prompt too long: 9 tokens")
    for life in (run, scene.killed()):
        totals = life.groups.totals
        assert totals.reasons == {
            f"filtered: {WRONG}": 2,
            f"filtered: {RIGHT}": 1,
            "filtered: prompt too long: N tokens": 1,
        }
        assert totals.reason_tokens == {f"filtered: {WRONG}": 40.0, f"filtered: {RIGHT}": 10.0}
        assert totals.group_tokens == {"filtered": 30.0}
        assert life.groups.generated_tokens == 90


def test_what_another_holds_or_what_ended_is_not_filtered_again(run: Run) -> None:
    (group_id,) = lease(run, 1)
    run.groups.filter("generator/b", group_id, WRONG, 5)
    assert run.groups.counts.filtered == 0
    run.groups.filter(HOLDER, group_id, WRONG, 5)
    run.groups.filter(HOLDER, group_id, WRONG, 500)
    assert run.groups.totals.reason_tokens == {f"filtered: {WRONG}": 5.0}
    assert run.groups.generated_tokens == 5


def test_a_group_that_was_trained_on_after_all_leaves_its_reason(run: Run) -> None:
    batch = lease(run, run.settings.algorithm.batch_groups)
    run.groups.filter(HOLDER, batch[0], WRONG, 8)
    store(run, batch[1:])
    assert run.commit(1, batch, {"reward": 1.0}, {0: len(batch)})
    assert run.groups.totals.reason_tokens == {}
    assert run.groups.totals.reasons == {}


def test_the_totals_go_through_the_ledgers_text(run: Run) -> None:
    take_step(run)
    (group_id,) = lease(run, 1)
    run.groups.filter(HOLDER, group_id, RIGHT, 12)
    assert GroupTotals.from_json(run.groups.totals.to_json()) == run.groups.totals


def test_a_filtered_group_has_no_more_tokens_than_its_lease_allows(run: Run) -> None:
    (group_id,) = lease(run, 1)
    most = run.settings.algorithm.responses * 64
    request = controller_pb2.EndLeaseRequest(group_id=group_id, response_tokens=most)
    check_tokens(request, run.groups.row(group_id), run.settings)
    request.response_tokens += 1
    with pytest.raises(MeshError, match="response_tokens") as refused:
        check_tokens(request, run.groups.row(group_id), run.settings)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
