"""Which stage follows when, over plain rows."""

import grpc
import pytest

from areal_mesh.controller.records import StageEntry, StepRow
from areal_mesh.controller.schedule import Restarts
from areal_mesh.controller.stage_progress import StageProgress, check_follows
from areal_mesh.runtime.errors import MeshError
from tests.unit.stage_support import stage

PLANS = (stage("8K", 8, 2), stage("16K", 16, 3))


def progress(*entries: tuple[int, int]) -> StageProgress:
    return StageProgress(PLANS, [StageEntry(number, first_step, 0.0, "") for number, first_step in entries])


def step(number: int, of_stage: int) -> StepRow:
    return StepRow(number, of_stage, {"reward": 1.0}, {}, float(number), 10)


def test_the_stage_after_a_step_and_the_end_of_the_schedule() -> None:
    first = progress((0, 1))
    assert first.after_step(step(1, 0), []) == (None, False)
    entry, finished = first.after_step(step(2, 0), [step(1, 0)])
    assert entry is not None
    assert (entry.stage, entry.first_step, entry.entered_at, finished) == (1, 3, 2.0, False)
    first.enter(entry)
    assert (first.stage, first.steps(2), first.steps(4), first.planned_steps) == (1, 0, 2, 5)
    assert first.after_step(step(4, 1), []) == (None, False)
    assert first.after_step(step(5, 1), []) == (None, True)


def test_a_step_of_a_stage_that_was_left_by_hand_ends_none() -> None:
    assert progress((0, 1), (1, 3)).after_step(step(2, 0), []) == (None, False)


def test_a_step_that_was_issued_stays_in_its_stage_when_the_next_is_entered_by_hand() -> None:
    entry = progress((0, 1)).by_hand(0, version=1, issued_step=2, now=7.0)
    assert (entry.stage, entry.first_step, entry.entered_at) == (1, 3, 7.0)
    order = progress((0, 1), (1, 3)).order(3)
    assert (order.step, order.stage, order.restarts) == (3, 1, Restarts(True, True))


@pytest.mark.parametrize(
    ("asked", "version", "refusal"),
    [(0, 0, "has no step yet"), (1, 1, "is not the current one"), (9, 1, "from_stage = 9 is not the current one")],
)
def test_what_is_refused_by_hand(asked: int, version: int, refusal: str) -> None:
    with pytest.raises(MeshError, match=refusal):
        progress((0, 1)).by_hand(asked, version, version, 0.0)
    with pytest.raises(MeshError, match="is the last one"):
        progress((0, 1), (1, 3)).by_hand(1, 3, 3, 0.0)


@pytest.mark.parametrize(
    ("number", "group_ids", "code"),
    [
        (1, ["a"], grpc.StatusCode.FAILED_PRECONDITION),
        (3, ["a"], grpc.StatusCode.FAILED_PRECONDITION),
        (2, [], grpc.StatusCode.INVALID_ARGUMENT),
        (2, ["a", "a"], grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_batch_that_cannot_follow_is_refused(number: int, group_ids: list[str], code: grpc.StatusCode) -> None:
    check_follows(1, 2, ["a", "b"])
    with pytest.raises(MeshError) as raised:
        check_follows(1, number, group_ids)
    assert raised.value.code is code
