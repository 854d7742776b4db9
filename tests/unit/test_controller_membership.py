"""Membership on a clock of plain numbers."""

import grpc
import pytest

from areal_mesh.controller.member import Introduction, Member
from areal_mesh.controller.membership import Roster, heartbeat_seconds
from areal_mesh.runtime.errors import MeshError
from areal_mesh.v1 import common_pb2

GENERATOR = common_pb2.ROLE_GENERATOR


def introduction(incarnation: str = "a", version: int = -1, service_id: str = "generator-0") -> Introduction:
    return Introduction(service_id, incarnation, GENERATOR, "127.0.0.1:1", version, 1)


@pytest.fixture
def roster() -> Roster:
    return Roster(lease_seconds=10.0)


def joined(roster: Roster, now: float = 0.0, **changes: str | int) -> Member:
    values = introduction(**changes)  # type: ignore[arg-type]
    roster.register(values, now, new_life=True)
    return roster.speak(values.service_id, values.incarnation, now)


def test_a_newer_life_replaces_the_older_which_never_comes_back(roster: Roster) -> None:
    joined(roster)
    replaced = roster.register(introduction("b"), 1.0, new_life=True)
    assert replaced is not None
    assert replaced.key == "generator-0/a"
    assert roster.speak("generator-0", "b", 1.0).starts == 2
    with pytest.raises(MeshError, match="newer process") as spoke:
        roster.speak("generator-0", "a", 2.0)
    with pytest.raises(MeshError, match="newer process") as registered:
        roster.register(introduction("a"), 2.0, new_life=False)
    assert spoke.value.code is registered.value.code is grpc.StatusCode.ABORTED


def test_registering_again_in_the_same_life_replaces_nothing_and_forgets_nothing(roster: Roster) -> None:
    member = joined(roster, version=3)
    member.quarantined = True
    assert roster.register(introduction("a", version=1), 1.0, new_life=False) is None
    again = roster.speak("generator-0", "a", 1.0)
    assert (again.policy_version, again.quarantined, again.starts) == (3, True, 1)


def test_a_stranger_is_told_to_register(roster: Roster) -> None:
    with pytest.raises(MeshError, match="register first") as raised:
        roster.speak("generator-9", "a", 0.0)
    assert raised.value.code is grpc.StatusCode.NOT_FOUND
    assert not roster.knows("generator-9", "a")


def test_a_silent_member_is_lost_once_and_lives_again_when_it_speaks(roster: Roster) -> None:
    member = joined(roster)
    assert roster.expire(10.0) == []
    assert roster.expire(10.5) == [member]
    assert roster.expire(11.0) == []
    assert roster.live(GENERATOR) == []
    roster.speak("generator-0", "a", 12.0)
    assert roster.live(GENERATOR) == [member]


def test_a_heartbeat_from_before_a_publish_does_not_undo_it(roster: Roster) -> None:
    member = joined(roster, version=4)
    roster.holds(member.key, 5)
    roster.reports(member, 4)
    assert member.policy_version == 5
    roster.reports(member, -1)
    assert member.policy_version == 5


def test_a_generator_whose_weights_were_torn_is_believed_the_second_time(roster: Roster) -> None:
    member = joined(roster, version=4)
    roster.reports(member, -1)
    roster.reports(member, -1)
    assert member.policy_version == -1
    roster.reports(member, 4)
    assert member.policy_version == 4


def test_a_late_heartbeat_of_a_newcomer_does_not_undo_its_first_publish(roster: Roster) -> None:
    member = joined(roster)
    roster.reports(member, -1)
    roster.reports(member, -1)
    roster.holds(member.key, 0)
    roster.reports(member, -1)
    assert member.policy_version == 0


def test_a_lost_member_is_silent_for_as_long_as_it_was_not_heard_and_one_that_left_is_none(roster: Roster) -> None:
    assert roster.silence(GENERATOR, 0.0) is None
    joined(roster)
    assert roster.silence(GENERATOR, 10.5) == 0.0, "it is not lost"
    roster.expire(10.5)
    assert roster.silence(GENERATOR, 29.0) == 29.0
    joined(roster, service_id="generator-1", now=29.0)
    assert roster.silence(GENERATOR, 30.0) == 0.0
    roster.remove("generator-0", "a")
    roster.remove("generator-1", "a")
    assert roster.silence(GENERATOR, 31.0) is None


def test_lives_are_counted_on_from_the_ledger() -> None:
    roster = Roster(10.0, {"generator-0": 3})
    assert joined(roster).starts == 4


def test_leaving_takes_only_that_life_out(roster: Roster) -> None:
    joined(roster)
    assert roster.remove("generator-0", "b") is None
    assert roster.remove("generator-0", "a") is not None
    assert list(roster.all()) == []


@pytest.mark.parametrize(
    ("members", "shortest", "lease", "expected"),
    [(4, 1.0, 10.0, 1.0), (200, 1.0, 10.0, 1.0), (300, 1.0, 10.0, 1.5), (512, 1.0, 10.0, 2.5), (512, 5.0, 60.0, 5.0)],
)
def test_heartbeats_come_at_a_bounded_rate_and_three_fit_into_a_lease(
    members: int, shortest: float, lease: float, expected: float
) -> None:
    assert heartbeat_seconds(members, shortest, lease) == expected


def test_a_member_is_found_by_its_life_and_by_its_role(roster: Roster) -> None:
    first = joined(roster)
    second = joined(roster, service_id="generator-1")
    assert (roster.find(first.key), roster.find("generator-0/b"), len(roster)) == (first, None, 2)
    replacing = joined(roster, incarnation="b")
    assert (roster.find(first.key), roster.find(replacing.key)) == (None, replacing)
    assert roster.live(GENERATOR) == [replacing, second]
    assert roster.of_role(common_pb2.ROLE_LEARNER) == []
    roster.remove("generator-0", "b")
    assert roster.live(GENERATOR) == [second]
    roster.expire(11.0)
    assert not roster.any_live(GENERATOR)
    roster.register(Introduction("generator-1", "c", common_pb2.ROLE_VERIFIER, "127.0.0.1:1", -1, 0), 12.0, True)
    assert (roster.of_role(GENERATOR), len(roster.of_role(common_pb2.ROLE_VERIFIER))) == ([], 1)
