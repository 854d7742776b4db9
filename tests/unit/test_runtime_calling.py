"""Which member of a role is called, and when again."""

from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.calling import backoff_seconds, choose_member
from areal_mesh.v1 import common_pb2, controller_pb2


def member(address: str, state: common_pb2.ServiceState.ValueType) -> controller_pb2.Member:
    return controller_pb2.Member(service_id=address, address=address, state=state)


def chosen(members: list[controller_pb2.Member], avoid: str | None = None) -> str | None:
    found = choose_member(members, avoid)
    return None if found is None else found.address


def test_one_that_serves_comes_before_one_that_starts_or_drains() -> None:
    starting = member("a:1", common_pb2.SERVICE_STATE_STARTING)
    serving = member("b:1", common_pb2.SERVICE_STATE_SERVING)
    assert chosen([starting, serving]) == "b:1"
    assert chosen([starting]) == "a:1"


def test_the_address_that_failed_is_taken_again_only_where_there_is_no_other() -> None:
    first = member("a:1", common_pb2.SERVICE_STATE_SERVING)
    second = member("b:1", common_pb2.SERVICE_STATE_SERVING)
    assert chosen([first, second], avoid="a:1") == "b:1"
    assert chosen([first], avoid="a:1") == "a:1"


def test_lost_and_stopped_members_are_never_called() -> None:
    lost = member("a:1", common_pb2.SERVICE_STATE_LOST)
    stopped = member("b:1", common_pb2.SERVICE_STATE_STOPPED)
    assert chosen([lost, stopped]) is None
    assert chosen([]) is None


@given(st.integers(1, 10_000))
def test_waits_between_attempts_grow_and_stay_within_two_seconds(failures: int) -> None:
    assert 0.1 <= backoff_seconds(failures) <= backoff_seconds(failures + 1) <= 2.0
