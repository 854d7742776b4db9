"""The meeting of a group where strangers may reach it: who knows the token comes in, and nobody else."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psutil
import pytest
import torch
from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistNetworkError, DistStoreError

from areal_mesh.runtime.addresses import Address
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.transports import store_guard
from areal_mesh.weights.transports.gloo import GlooWire
from areal_mesh.weights.transports.store import StoreMeeting, connect_store
from areal_mesh.weights.transports.store_guard import relay_to

TIMEOUT = 3.0
SECONDS = 10.0
FAILED = (DistNetworkError, DistStoreError, TransferError)


def own_addresses() -> list[str]:
    """Addresses of this machine beside loopback."""
    found = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
    return [each.address for each in found if each.family == socket.AF_INET and not each.address.startswith("127.")]


pytestmark = pytest.mark.skipif(not own_addresses(), reason="needs an IPv4 address beside loopback")


@pytest.fixture
def meeting() -> Iterator[StoreMeeting]:
    made = StoreMeeting(own_addresses()[0])
    yield made
    made.close()


def listening(port: int) -> list[str]:
    """Addresses on which something listens at a port."""
    links = psutil.Process().net_connections("tcp")
    return [link.laddr.ip for link in links if link.status == psutil.CONN_LISTEN and link.laddr.port == port]


def test_members_meet_through_the_guard_and_receive(meeting: StoreMeeting) -> None:
    group = meeting.open("one", 2, TIMEOUT)
    token, _, address = group.endpoint.removeprefix("tcp://").rpartition("@")
    assert len(token) == 32
    assert address == str(meeting.address)
    assert token not in repr(group)
    with ThreadPoolExecutor() as threads:
        other = threads.submit(GlooWire, group, 1)
        sender, receiver = GlooWire(group, 0), other.result(timeout=SECONDS)
        received = torch.zeros(3)
        receiving = threads.submit(receiver.receive, received)
        sender.broadcast(torch.arange(3.0))
        receiving.result(timeout=SECONDS)
    assert received.tolist() == [0.0, 1.0, 2.0]
    sender.close()
    receiver.close()


def test_nothing_but_the_guard_listens_where_strangers_come(meeting: StoreMeeting) -> None:
    links = [link for link in psutil.Process().net_connections("tcp") if link.status == psutil.CONN_LISTEN]
    beyond = {link.laddr.port for link in links if not link.laddr.ip.startswith("127.") and link.laddr.ip != "::1"}
    assert listening(meeting.address.port) == [meeting.address.host]
    assert meeting.address.port in beyond


def test_who_does_not_know_the_token_reaches_no_store(meeting: StoreMeeting) -> None:
    group = meeting.open("one", 2, TIMEOUT)
    held = connect_store(group)
    held.set("secret", "of the group")
    host, port = meeting.address.host, meeting.address.port
    short = timedelta(seconds=1)
    with pytest.raises(FAILED):
        TCPStore(host, port, is_master=False, timeout=short, wait_for_workers=False).get("secret")
    near = relay_to(Address(host, port), "0" * 32, TIMEOUT)
    with pytest.raises(FAILED):
        TCPStore(near.host, near.port, is_master=False, timeout=short, wait_for_workers=False).get("secret")
    assert held.get("secret") == b"of the group"


def test_a_group_that_is_over_lets_nobody_in(meeting: StoreMeeting, monkeypatch: pytest.MonkeyPatch) -> None:
    first = meeting.open("one", 2, 1.0)
    connect_store(first).set("key", "")
    second = meeting.open("two", 2, 1.0)
    with pytest.raises(FAILED):
        connect_store(first)
    connect_store(second).set("key", "")
    late = time.monotonic() + 1000.0
    monkeypatch.setattr("areal_mesh.weights.transports.store_guard.time.monotonic", lambda: late)
    with pytest.raises(FAILED):
        connect_store(second)


def test_strangers_who_say_nothing_keep_no_member_out_for_long(
    meeting: StoreMeeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_guard, "_HANDSHAKE_SECONDS", 0.5)
    group = meeting.open("one", 2, SECONDS)
    silent = [socket.create_connection((meeting.address.host, meeting.address.port)) for _ in range(200)]
    connect_store(group).set("key", "value")
    for stranger in silent:
        stranger.settimeout(SECONDS)
        while stranger.recv(1024):
            pass
        stranger.close()


def test_on_loopback_the_store_is_reached_as_it_is() -> None:
    meeting = StoreMeeting("127.0.0.1")
    group = meeting.open("one", 2, TIMEOUT)
    assert group.endpoint == f"tcp://127.0.0.1:{meeting.address.port}"
    connect_store(group).set("key", "value")
    meeting.close()


def test_a_guard_that_closes_leaves_no_port_and_no_thread_behind() -> None:
    meeting = StoreMeeting(own_addresses()[0])
    group = meeting.open("one", 2, 1.0)
    assert isinstance(group, Group)
    connect_store(group).set("key", "")
    meeting.close()
    assert listening(meeting.address.port) == []
    with pytest.raises(FAILED):
        connect_store(group)
