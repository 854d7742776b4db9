"""Transfers are obeyed with the key of the controller's present life, and with no other."""

import asyncio

import grpc
import pytest

from areal_mesh.runtime.errors import MeshError
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.transfer_key import new_transfer_key, require_transfer_key
from areal_mesh.v1 import controller_pb2


def hears(standing: HeardStanding, key: bytes) -> None:
    standing.hear(controller_pb2.RunStanding(transfer_key=key))


async def code_of(standing: HeardStanding, key: bytes) -> grpc.StatusCode:
    try:
        await require_transfer_key(standing, key)
    except MeshError as error:
        return error.code
    return grpc.StatusCode.OK


async def test_only_the_present_lifes_key_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("areal_mesh.runtime.standing.NEWS_SECONDS", 0.05)
    standing, former, present = HeardStanding(), new_transfer_key(), new_transfer_key()
    assert await code_of(standing, present) is grpc.StatusCode.UNAVAILABLE
    hears(standing, former)
    hears(standing, present)
    assert await code_of(standing, present) is grpc.StatusCode.OK
    assert await code_of(standing, former) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("key", [b"", b"0123", b"\0" * 17, b"\0" * 64])
async def test_what_can_be_no_key_is_refused_without_a_wait(key: bytes) -> None:
    standing = HeardStanding()
    hears(standing, b"")  # what a member is told to whom no key is given
    async with asyncio.timeout(2.0):
        assert await code_of(standing, key) is grpc.StatusCode.PERMISSION_DENIED


async def test_the_news_of_a_controller_that_returned_are_waited_for() -> None:
    standing, present = HeardStanding(), new_transfer_key()
    hears(standing, new_transfer_key())
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(code_of(standing, present))
        await asyncio.sleep(0)
        assert not call.done()
        hears(standing, present)
    assert call.result() is grpc.StatusCode.OK
