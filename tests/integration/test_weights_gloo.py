"""Publishes over real Gloo groups, members in threads and in processes."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
import pytest
import torch

from areal_mesh.runtime.settings.weights import GlooSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe, unpack
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.sender import WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transports.gloo import Gloo, GlooWire, local_address
from areal_mesh.weights.transports.store import StoreMeeting, wait_for_arrival

GLOO = Gloo(GlooSettings())
TIMEOUT = 3.0
SLACK = 5.0
"""Seconds that a busy machine may add to a timeout."""


@pytest.fixture
def store() -> Iterator[StoreMeeting]:
    host = StoreMeeting("127.0.0.1")
    yield host
    host.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as executor:
        yield executor


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "wide": torch.randn(300, 40, generator=generator),
        "half": torch.randn(1000, generator=generator).to(torch.bfloat16),
        "scalar": torch.tensor([2.5]),
    }


def _receive(group: Group, rank: int, manifest: WeightManifest) -> dict[str, torch.Tensor]:
    wire = GlooWire(group, rank)
    received: dict[str, torch.Tensor] = {}
    for bucket, buffer in BucketReceiver(wire, manifest).buckets():
        received |= {spec.name: view for spec, view in unpack(bucket, buffer)}
    wire.close()
    return received


def _broadcast_twice(sender: WeightSender, manifest: WeightManifest, tensors: dict[str, torch.Tensor]) -> None:
    """The first may still fit into the socket of a member that is gone."""
    sender.broadcast(Snapshot.of(manifest, tensors.items()))
    sender.broadcast(Snapshot.of(manifest, tensors.items()))


def _assert_received(future: "Future[dict[str, torch.Tensor]]", tensors: dict[str, torch.Tensor]) -> None:
    received = future.result(timeout=30)
    assert list(received) == list(tensors)
    assert all(torch.equal(received[name], tensor) for name, tensor in tensors.items())


def test_every_member_receives_what_was_sent(
    store: StoreMeeting, threads: ThreadPoolExecutor, tensors: dict[str, torch.Tensor]
) -> None:
    group = store.open("all", 4, TIMEOUT)
    manifest = describe(7, tensors.items())
    members = [threads.submit(_receive, group, rank, manifest) for rank in (1, 2, 3)]
    sender = WeightSender(GLOO, group)
    report = sender.broadcast(Snapshot.of(manifest, tensors.items()))
    assert report.num_bytes == manifest.num_bytes
    for member in members:
        _assert_received(member, tensors)
    sender.close()


def test_a_member_that_expects_another_manifest_refuses_it(
    store: StoreMeeting, threads: ThreadPoolExecutor, tensors: dict[str, torch.Tensor]
) -> None:
    group = store.open("other", 2, TIMEOUT)
    member = threads.submit(_receive, group, 1, describe(8, tensors.items()))
    sender = WeightSender(GLOO, group)
    with pytest.raises(TransferError):
        _broadcast_twice(sender, describe(7, tensors.items()), tensors)
    with pytest.raises(TransferError, match="another manifest"):
        member.result(timeout=30)
    sender.close()


def test_a_member_that_never_joins_is_an_error_within_the_timeout(
    store: StoreMeeting, tensors: dict[str, torch.Tensor]
) -> None:
    sender = WeightSender(GLOO, store.open("missing", 2, 1.0))
    begin = time.monotonic()
    with pytest.raises(TransferError, match="joining group 'missing' of 2"):
        sender.broadcast(Snapshot.of(describe(1, tensors.items()), tensors.items()))
    assert time.monotonic() - begin < 1.0 + SLACK
    sender.close()


def test_a_killed_member_is_an_error_and_the_group_is_built_anew_without_it(
    store: StoreMeeting, threads: ThreadPoolExecutor, tensors: dict[str, torch.Tensor]
) -> None:
    manifest = describe(1, tensors.items())
    first = store.open("with-victim", 3, 20.0)
    program = (
        "from areal_mesh.weights.transports.gloo import GlooWire; from areal_mesh.weights.group import Group;"
        f"wire = GlooWire(Group('with-victim', {first.endpoint!r}, 3, 20.0), 2);"
        "print('joined', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as victim:
        survivor = threads.submit(_receive, first, 1, manifest)
        sender = WeightSender(GLOO, first)
        assert victim.stdout is not None
        assert victim.stdout.readline() == "joined\n"
        victim.kill()
        victim.wait(timeout=10)
    begin = time.monotonic()
    with pytest.raises(TransferError, match="broadcasting to group 'with-victim' of 3"):
        _broadcast_twice(sender, manifest, tensors)
    sender.close()
    # It may have had its bytes from the sender before the group broke; what counts is that it does not hang.
    survivor.exception(timeout=20.0 + SLACK)
    assert time.monotonic() - begin < 20.0 + SLACK

    second = store.open("without-victim", 2, TIMEOUT)
    again = threads.submit(_receive, second, 1, manifest)
    sender = WeightSender(GLOO, second)
    sender.broadcast(Snapshot.of(manifest, tensors.items()))
    _assert_received(again, tensors)
    sender.close()


def test_a_sender_that_leaves_is_an_error_for_those_who_wait(
    store: StoreMeeting, threads: ThreadPoolExecutor, tensors: dict[str, torch.Tensor]
) -> None:
    group = store.open("deserted", 2, TIMEOUT)
    member = threads.submit(_receive, group, 1, describe(1, tensors.items()))
    GlooWire(group, 0).close()
    with pytest.raises(TransferError, match="receiving from group 'deserted'"):
        member.result(timeout=TIMEOUT + SLACK)


def test_a_wire_that_was_closed_says_so(store: StoreMeeting, threads: ThreadPoolExecutor) -> None:
    group = store.open("closed", 2, TIMEOUT)
    other = threads.submit(GlooWire, group, 1)
    wire = GlooWire(group, 0)
    wire.close()
    with pytest.raises(TransferError, match="this member has left it"):
        wire.broadcast(torch.zeros(1, dtype=torch.uint8))
    other.result(timeout=30).close()


def test_arrival_is_seen_before_the_group_is_complete(store: StoreMeeting, threads: ThreadPoolExecutor) -> None:
    group = store.open("arrival", 3, 1.0)
    joining = threads.submit(GlooWire, group, 1)
    wait_for_arrival(group, range(1, 2))
    with pytest.raises(TransferError, match=r"members \[2\] did not all arrive in 1 s"):
        wait_for_arrival(group, range(2, 3))
    with pytest.raises(TransferError, match="joining group 'arrival'"):
        joining.result(timeout=30)


def test_a_store_that_is_not_there_is_named(tensors: dict[str, torch.Tensor]) -> None:
    gone = StoreMeeting("127.0.0.1")
    group = gone.open("gone", 2, 1.0)
    gone.close()
    with pytest.raises(TransferError, match=rf"store at 127.0.0.1:{gone.address.port} was not reached in 1 s"):
        WeightSender(GLOO, group).broadcast(Snapshot.of(describe(1, tensors.items()), tensors.items()))


def test_a_store_cannot_take_a_port_that_is_taken(store: StoreMeeting) -> None:
    with pytest.raises(OSError, match="in use"):
        StoreMeeting("127.0.0.1", store.address.port)


def test_a_group_meets_at_an_ipv6_address(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    store = StoreMeeting("::1")
    group = store.open("version-6", 2, TIMEOUT)
    other = threads.submit(GlooWire, group, 1)
    sender, receiver = GlooWire(group, 0), other.result(timeout=30)
    received = torch.zeros(3)
    receiving = threads.submit(receiver.receive, received)
    sender.broadcast(torch.arange(3.0))
    receiving.result(timeout=30)
    assert received.tolist() == [0.0, 1.0, 2.0]
    sender.close()
    receiver.close()
    store.close()


def test_on_one_machine_the_route_is_loopback() -> None:
    assert local_address("127.0.0.1", 1234) == local_address("localhost", 1234) == "127.0.0.1"


def test_the_learner_listens_on_the_address_that_it_advertises(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    own = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    if not own:
        pytest.skip("needs an IPv4 address beside loopback: bring a network interface up")
    store = StoreMeeting(own[0])
    group = store.open("advertised", 2, TIMEOUT)
    other = threads.submit(GlooWire, group, 1)
    wire = GlooWire(group, 0)
    listening = [link.laddr for link in psutil.Process().net_connections("tcp4") if link.status == psutil.CONN_LISTEN]
    assert [address for address in listening if address.ip == own[0] and address.port != store.address.port]
    wire.close()
    other.result(timeout=30).close()
    store.close()
