"""Evaluation during training: what is due, who keeps its version for how long, and what the ledger has of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.controller.evaluation.due import ATTEMPTS, chosen, is_due, keeps_version
from areal_mesh.controller.evaluation.holds import Holds
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.publish.demand import Demand
from areal_mesh.controller.records import EvaluationRow
from areal_mesh.controller.run import Run
from areal_mesh.controller.totals import StepTotals
from areal_mesh.v1 import common_pb2
from tests.unit.run_scene import Scene, take_step
from tests.unit.test_controller_publish_demand import LEASE_SECONDS
from tests.unit.test_controller_publish_demand import Scene as Members

GENERATOR, LEARNER = common_pb2.ROLE_GENERATOR, common_pb2.ROLE_LEARNER


def evaluated_versions(every: int, published: list[int]) -> list[int]:
    """What is evaluated where each of these versions is published in its turn."""
    versions: list[int] = []
    for version in published:
        if is_due(every, versions[-1] if versions else -1, (), version, final=False):
            versions.append(version)
    return versions


@given(st.integers(1, 9), st.lists(st.integers(1, 4), min_size=1, max_size=40))
def test_every_so_many_versions_one_is_evaluated_the_first_that_is_published(every: int, gaps: list[int]) -> None:
    published = [0]
    for gap in gaps:
        published.append(published[-1] + gap)
    versions = evaluated_versions(every, published)
    assert versions[0] == 0
    places = [version // every for version in versions]
    assert places == sorted({version // every for version in published})
    assert all(version == min(v for v in published if v // every == version // every) for version in versions)


def test_nothing_is_due_without_a_schedule_or_before_the_first_publish() -> None:
    assert not is_due(0, -1, (), 5, final=True)
    assert not is_due(5, -1, (), -1, final=False)


def test_the_last_version_is_due_in_any_case_and_once() -> None:
    assert is_due(10, 10, (), 13, final=True)
    assert not is_due(10, 10, (), 13, final=False)
    assert not is_due(10, 13, (), 13, final=True)


def test_what_was_given_up_is_tried_with_newer_versions_and_not_for_ever() -> None:
    assert not is_due(10, 0, (10,), 10, final=False)
    assert is_due(10, 0, (10,), 11, final=False)
    assert not is_due(10, 0, range(10, 10 + ATTEMPTS), 15, final=False)
    assert is_due(10, 0, range(10, 10 + ATTEMPTS), 20, final=False)


@given(st.floats(0.01, 1), st.integers(0, 40))
def test_a_share_of_the_generators_is_examined_one_at_least(share: float, count: int) -> None:
    few = chosen(share, range(count))
    assert len(few) == (max(1, int(share * count)) if count else 0)


@pytest.mark.parametrize(
    ("committed", "versions", "max_staleness", "keeps"),
    [
        (5, [5], 0, True),
        (6, [5], 0, False),
        (6, [5], 1, True),
        (7, [5], 1, False),
        (9, [5, 8], 1, True),
        (5, [], 1, False),
    ],
)
def test_a_version_is_kept_as_long_as_some_generator_can_feed_the_next_step(
    committed: int, versions: list[int], max_staleness: int, keeps: bool
) -> None:
    assert keeps_version(committed, versions, max_staleness) is keeps


@pytest.fixture
def members(tmp_path: Path) -> Members:
    return Members(Ledger(tmp_path / "ledger.db"), digests="never")


def test_who_is_examined_is_left_out_of_publishes_until_then(members: Members) -> None:
    members.join(LEARNER, "learner", 1)
    members.join(GENERATOR, "generator-0", 0)
    members.join(GENERATOR, "generator-1", 0)
    holds = Holds(members.run, members.roster)
    settings = members.run.settings
    clock = members.run._clock
    demand = Demand(members.run, members.roster, clock, settings.weights, LEASE_SECONDS, holds.holds)
    members.run.totals = StepTotals(step=1)
    assert {target.key for target in demand.receivers()} == {"generator-0/a", "generator-1/a"}
    with holds.holding(["generator-0/a"]):
        assert [target.key for target in demand.receivers()] == ["generator-1/a"]
    assert {target.key for target in demand.receivers()} == {"generator-0/a", "generator-1/a"}


def test_the_only_generator_gets_what_training_needs_even_while_it_is_examined(members: Members) -> None:
    members.join(LEARNER, "learner", 2)
    members.join(GENERATOR, "generator-0", 0)
    holds = Holds(members.run, members.roster)
    clock, settings = members.run._clock, members.run.settings
    demand = Demand(members.run, members.roster, clock, settings.weights, LEASE_SECONDS, holds.holds)
    told = []
    with holds.holding(["generator-0/a"]):
        for step in (1, 2):
            members.run.totals = StepTotals(step=step)
            told.append((holds.kept, [target.key for target in demand.receivers()]))
    assert told == [(True, []), (False, ["generator-0/a"])]


def row(version: int, suite: str, share: float, at: float = 1.0) -> EvaluationRow:
    return EvaluationRow(version, suite, at, {"pass_at_1": share, "response_length": 7.0, "pass_at_k": {"1": share}})


def test_the_ledger_has_every_evaluation_and_the_next_step_tells_of_it(scene: Scene, run: Run) -> None:
    assert run.evaluations.version == -1
    run.evaluated([row(0, "aime24", 0.25), row(0, "math500", 0.5)])
    take_step(run)
    assert run.last_step is not None
    told = run.last_step.metrics
    assert told["evaluation/math500/pass_at_1"] == 0.5
    assert told["evaluation/aime24/policy_version"] == 0
    counts = run.groups.counts
    scene.publish(run, 1)
    take_step(run)
    assert not [name for name in run.last_step.metrics if name.startswith("evaluation/")]
    scene.now += 1
    run.evaluated([row(2, "math500", 0.75, at=scene.now)])
    again = scene.killed()
    assert again.evaluations.version == 2
    assert [(kept.policy_version, kept.suite) for kept in again.evaluations.rows] == [
        (0, "aime24"),
        (0, "math500"),
        (2, "math500"),
    ]
    assert again.evaluations.latest()["evaluation/math500/pass_at_1"] == 0.75
    assert again.evaluations.latest()["evaluation/aime24/pass_at_1"] == 0.25
    assert again.groups.counts.leased == counts.leased + 2, "an evaluation is no group"
