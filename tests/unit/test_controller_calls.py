"""The call groups and what they share, without a server."""

import grpc
import pytest

from areal_mesh.controller.calls.callers import Callers
from areal_mesh.controller.calls.issued import IssuedLeases
from areal_mesh.controller.calls.servicer import ControllerServicer
from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.member import Introduction
from areal_mesh.controller.membership import Roster
from areal_mesh.runtime.errors import MeshError
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc

REQUEST = controller_pb2.HeartbeatRequest(service_id="generator-0", incarnation="a")
INTRODUCTION = Introduction("generator-0", "a", common_pb2.ROLE_GENERATOR, "127.0.0.1:1", -1, 1)


def test_every_call_of_the_contract_is_delegated() -> None:
    contract = {name for name in vars(controller_pb2_grpc.ControllerServiceServicer) if name[0] != "_"}
    assert contract
    assert contract <= set(vars(ControllerServicer)), "else it would answer UNIMPLEMENTED"


def test_the_same_key_finds_what_it_was_given_until_others_came_or_the_life_is_over() -> None:
    issued = IssuedLeases()
    issued.put("generator-0/a", "first", ["g0", "g1"])
    issued.put("generator-1/a", "first", ["g2"])
    assert issued.find("generator-0/a", "first") == ["g0", "g1"]
    assert issued.find("generator-0/a", "second") is None
    for number in range(8):
        issued.put("generator-0/a", f"later {number}", [])
    assert issued.find("generator-0/a", "first") is None
    assert issued.find("generator-0/a", "later 0") == []
    issued.forget("generator-0/a")
    assert issued.find("generator-0/a", "later 7") is None
    assert issued.find("generator-1/a", "first") == ["g2"]


def callers_at(now: list[float], patience_seconds: float) -> Callers:
    clock = Clock(lambda: now[0], lambda: now[0])
    return Callers(Roster(lease_seconds=10.0), Changes(), clock, patience_seconds)


async def test_a_stranger_is_waited_for_and_then_told_to_register() -> None:
    callers = callers_at([0.0], patience_seconds=0.01)
    with pytest.raises(MeshError, match="register first") as raised:
        await callers.wait_for(REQUEST)
    assert raised.value.code is grpc.StatusCode.NOT_FOUND
    callers.roster.register(INTRODUCTION, 0.0, new_life=True)
    assert (await callers.wait_for(REQUEST)).key == "generator-0/a"


async def test_whoever_waits_for_members_hears_of_one_that_was_lost_and_calls_again() -> None:
    now = [0.0]
    callers = callers_at(now, patience_seconds=0.01)
    callers.roster.register(INTRODUCTION, 0.0, new_life=True)
    heard = []
    callers.changes.listen(lambda: heard.append(now[0]), Change.MEMBERS)
    callers.of(REQUEST)
    assert heard == []
    now[0] = 11.0
    callers.roster.expire(now[0])
    assert not callers.of(REQUEST).lost
    assert heard == [11.0]
