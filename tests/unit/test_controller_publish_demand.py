"""Who lacks which version, over a real run and members that only say what they hold."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.member import Introduction, Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.publish.demand import Demand
from areal_mesh.controller.publish.policy import Cause, Failure
from areal_mesh.controller.records import PublishRow
from areal_mesh.controller.run import Run
from areal_mesh.runtime.settings import WeightSettings
from areal_mesh.v1 import common_pb2
from tests.unit.stage_support import run_of, stage

LEASE_SECONDS = 10.0


class Scene:
    """A run, its members, and the demand of one life of the controller."""

    def __init__(self, ledger: Ledger, digests: str = "always") -> None:
        self.now = 100.0
        clock = Clock(lambda: self.now, lambda: self.now)
        self.run = Run(run_of(stage("short", 8, 4), lease_seconds=LEASE_SECONDS), ledger, clock)
        self.roster = Roster(LEASE_SECONDS)
        settings = WeightSettings.model_validate({"digests": digests, "attempts": 2})
        self.demand = Demand(self.run, self.roster, clock, settings, LEASE_SECONDS)

    def join(self, role: common_pb2.Role.ValueType, name: str, version: int) -> Member:
        generator = role == common_pb2.ROLE_GENERATOR
        self.roster.register(Introduction(name, "a", role, "127.0.0.1:1", version, int(generator)), self.now, True)
        key = f"{name}/a"
        self.run.note_member(key, name, "generator" if generator else "learner", "127.0.0.1:1")
        member = self.roster.find(key)
        assert member is not None
        return member

    def receivers(self) -> list[str]:
        return [generator.key for generator in self.demand.receivers()]

    def awaits(self) -> bool:
        return self.demand.awaits_generator


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


def test_what_keeps_weights_from_a_generator_is_said_until_it_has_them(ledger: Ledger) -> None:
    scene = Scene(ledger)
    generator = scene.join(common_pb2.ROLE_GENERATOR, "generator-0", -1)
    assert scene.demand.waits_for(generator) == "no learner has registered yet"
    learner = scene.join(common_pb2.ROLE_LEARNER, "learner", 0)
    assert scene.demand.waits_for(generator) == ""
    scene.demand.failed(Failure(learner.key, "prepare", Cause.REFUSED, "weights move"), guilty=False)
    assert scene.demand.waits_for(generator) == "the learner sends no weights: prepare failed, refused: weights move"
    scene.demand.failed(Failure(generator.key, "prepare", Cause.REFUSED, "no room"), guilty=True)
    assert scene.demand.waits_for(generator) == "prepare failed, refused: no room"
    scene.demand.published(0, [generator.key], learner.key)
    assert scene.demand.waits_for(generator) == ""
    assert scene.receivers() == []
    newcomer = scene.join(common_pb2.ROLE_GENERATOR, "generator-1", -1)
    assert scene.demand.waits_for(newcomer) == "", "the learner has sent weights since it failed"


def test_the_guilty_are_left_out_at_once_and_others_after_so_many_attempts(ledger: Ledger) -> None:
    scene = Scene(ledger)
    scene.join(common_pb2.ROLE_LEARNER, "learner", 0)
    first, second = (scene.join(common_pb2.ROLE_GENERATOR, f"generator-{number}", -1) for number in range(2))
    assert scene.receivers() == [first.key, second.key]
    seconds = scene.demand.failed(Failure(first.key, "transfer", Cause.GONE, "gone"), guilty=True)
    assert seconds is not None
    assert scene.demand.failed(Failure(second.key, "transfer", Cause.SILENT, "late"), guilty=False) is None
    assert scene.receivers() == [second.key]
    assert scene.demand.failed(Failure(second.key, "transfer", Cause.SILENT, "late"), guilty=False) is not None
    assert (scene.receivers(), scene.demand.has_work) == ([], False)
    assert scene.demand.next_return() == seconds
    scene.now += seconds
    assert scene.receivers() == [first.key, second.key]


def test_a_version_counts_once_its_digests_have_agreed_unless_none_are_asked_for(ledger: Ledger) -> None:
    for digests, expected in (("always", ["generator-0/a"]), ("never", [])):
        scene = Scene(ledger, digests)
        scene.join(common_pb2.ROLE_LEARNER, "learner", 0)
        scene.join(common_pb2.ROLE_GENERATOR, "generator-0", 0)
        assert scene.receivers() == expected
        assert scene.demand.unrecorded_version() == (0 if digests == "never" else None)
    scene.run.published(PublishRow(0, 0.0, 0.1, 0.1, 0.1, 10, ("generator-0/a",), "agreed"))
    again = Scene(ledger)
    again.join(common_pb2.ROLE_LEARNER, "learner", 0)
    again.join(common_pb2.ROLE_GENERATOR, "generator-0", 0)
    assert again.receivers() == [], "the ledger says that they agreed"


def test_generators_of_before_a_restart_are_awaited_for_a_lease_and_killed_ones_for_a_publish(ledger: Ledger) -> None:
    scene = Scene(ledger)
    scene.join(common_pb2.ROLE_LEARNER, "learner", 0)
    scene.join(common_pb2.ROLE_GENERATOR, "generator-0", -1)
    assert not scene.awaits(), "it is there, and is published to"
    again = Scene(ledger)
    again.join(common_pb2.ROLE_LEARNER, "learner", 0)
    assert again.awaits()
    again.now += LEASE_SECONDS
    assert not again.awaits()
    again.join(common_pb2.ROLE_GENERATOR, "generator-0", -1)
    again.now += LEASE_SECONDS + 1
    again.join(common_pb2.ROLE_LEARNER, "learner", 0)
    again.roster.expire(again.now)
    assert again.awaits(), "killed, it comes back within the time of a publish"
    again.now += 10_000
    again.join(common_pb2.ROLE_LEARNER, "learner", 0)
    assert not again.awaits()
