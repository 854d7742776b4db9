"""Members as status shows them: what is kept from the look before is never what has changed since."""

from areal_mesh.controller.calls.member_statuses import MemberStatuses
from areal_mesh.controller.member import Member
from areal_mesh.v1 import common_pb2


def member(number: int) -> Member:
    return Member(f"generator-{number}", "a", common_pb2.ROLE_GENERATOR, "h:1", 3, 1, seen_at=10.0, starts=1)


def test_a_look_shows_what_changed_since_the_one_before() -> None:
    waits = {"generator-0": "", "generator-1": ""}
    statuses = MemberStatuses(lambda member: waits[member.service_id])
    first, second = member(0), member(1)
    assert [shown.policy_version for shown in statuses.of([first, second], 11.0)] == [3, 3]
    first.policy_version, first.metrics, first.state = 4, {"kv_cache_use": 0.5}, common_pb2.SERVICE_STATE_SERVING
    waits["generator-1"] = "weights"
    shown = statuses.of([first, second], 12.5)
    assert (shown[0].policy_version, dict(shown[0].metrics)) == (4, {"kv_cache_use": 0.5})
    assert shown[0].state == common_pb2.SERVICE_STATE_SERVING
    assert shown[1].waits_for == "weights"
    assert shown[1].since_heartbeat.ToMilliseconds() == 2500
    first.metrics, second.seen_at = {}, 13.0
    shown = statuses.of([first, second], 12.9)
    assert not shown[0].metrics
    assert shown[1].since_heartbeat.ToMilliseconds() == 0, "a heartbeat may come between two readings of the clock"


def test_nothing_is_kept_of_a_member_that_left_and_another_life_is_another_member() -> None:
    statuses = MemberStatuses(lambda _: "")
    statuses.of([member(number) for number in range(5)], 11.0)
    [shown] = statuses.of([member(2)], 11.0)
    assert shown.service_id == "generator-2"
    assert set(statuses._kept) == {"generator-2/a"}
    again = Member("generator-2", "b", common_pb2.ROLE_GENERATOR, "h:9", -1, 1, seen_at=11.0, starts=2)
    [shown] = statuses.of([again], 11.0)
    assert (shown.address, shown.starts, shown.policy_version) == ("h:9", 2, -1)
