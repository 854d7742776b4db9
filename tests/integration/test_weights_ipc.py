"""Publishes through shared memory, members in threads and in a process that is killed."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from areal_mesh.runtime.settings.weights import IpcSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.sender import WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transport import Wire
from areal_mesh.weights.transports.folder import FolderMeeting
from areal_mesh.weights.transports.ipc import Ipc

TIMEOUT, BUCKET = 20.0, 32 << 10
TENSORS = {f"layer.{index}": torch.randn(100, 90) for index in range(20)} | {
    "half": torch.ones(7, dtype=torch.bfloat16)
}


@pytest.fixture
def ipc(tmp_path: Path) -> Ipc:
    # Longer than the address of a socket may be.
    return Ipc(IpcSettings(folder=tmp_path / ("far-down-" * 8) / ("in-the-tree-" * 8)))


@pytest.fixture
def meeting(ipc: Ipc) -> Iterator[FolderMeeting]:
    meeting = ipc.host("nobody")
    yield meeting
    meeting.close()


def manifest_of(version: int) -> WeightManifest:
    return describe(version, TENSORS.items(), bucket_bytes=BUCKET)


def close_all(wires: list[Wire]) -> None:
    for wire in wires:
        wire.close()


def receive(wire: Wire, version: int) -> dict[str, torch.Tensor]:
    receiver = BucketReceiver(wire, manifest_of(version))
    weights = {name: view.clone() for name, view in receiver.tensors()}
    receiver.release()
    return weights


def test_every_member_receives_what_was_sent_version_after_version(ipc: Ipc, meeting: FolderMeeting) -> None:
    group = meeting.open("members", 3, TIMEOUT)
    with ThreadPoolExecutor(4) as threads:
        joining = [threads.submit(ipc.join, group, rank) for rank in (1, 2)]
        ipc.await_arrival(group, range(1, 3))
        sender = WeightSender(ipc, group)
        ipc.await_joined(group, range(1, 3))
        wires = [member.result(timeout=TIMEOUT) for member in joining]
        for version in range(3):
            receiving = [threads.submit(receive, wire, version) for wire in wires]
            report = sender.broadcast(Snapshot.of(manifest_of(version), TENSORS.items()))
            assert report.num_bytes <= report.sent_bytes < 1.01 * report.num_bytes
            for member in receiving:
                received = member.result(timeout=TIMEOUT)
                assert all(torch.equal(received[name], tensor) for name, tensor in TENSORS.items())
        sender.close()
        close_all(wires)


def test_members_load_from_one_memory_that_is_made_once(ipc: Ipc, meeting: FolderMeeting) -> None:
    group = meeting.open("members", 2, TIMEOUT)
    with ThreadPoolExecutor(2) as threads:
        joining = threads.submit(ipc.join, group, 1)
        sender = ipc.join(group, 0)
        wire = joining.result(timeout=TIMEOUT)
        places = []
        for version in (1, 2):
            sender.begin(3 * BUCKET)
            for bucket in range(3):
                assert (
                    sender.broadcast(torch.full((BUCKET - 2,), 10 * version + bucket, dtype=torch.uint8)) == BUCKET - 2
                )
            lent = [wire.lend(BUCKET - 2) for _ in range(3)]
            assert [int(part[0]) for part in lent if part is not None] == [10 * version + bucket for bucket in range(3)]
            places.append([part.data_ptr() for part in lent if part is not None])
            assert all(place % 64 == 0 for place in places[-1]), "a view of any dtype is legal"
        assert places[0] == places[1]
        close_all([sender, wire])


def test_a_shared_snapshot_is_loaded_where_it_lies_until_every_member_is_through(
    ipc: Ipc, meeting: FolderMeeting
) -> None:
    group = meeting.open("lent", 3, TIMEOUT)
    snapshots = [Snapshot.of(manifest_of(version), TENSORS.items(), shared=True) for version in (1, 2)]
    with ThreadPoolExecutor(4) as threads:
        joining = [threads.submit(ipc.join, group, rank) for rank in (1, 2)]
        sender = WeightSender(ipc, group)
        wires = [member.result(timeout=TIMEOUT) for member in joining]
        for version, snapshot in enumerate(snapshots, start=1):
            sending = threads.submit(sender.broadcast, snapshot)
            receivers = [BucketReceiver(wire, manifest_of(version)) for wire in wires]
            lent = [dict(receiver.tensors()) for receiver in receivers]
            assert all(torch.equal(weights[name], tensor) for weights in lent for name, tensor in TENSORS.items())
            dict(snapshot.named_tensors())["half"].fill_(9.0)
            assert all((weights["half"] == 9.0).all() for weights in lent), "nobody has a copy"
            receivers[0].release()
            assert not sending.done()
            receivers[1].release()
            assert sending.result(timeout=TIMEOUT).num_bytes == snapshot.manifest.num_bytes
        sender.close()
        close_all(wires)


def test_what_was_loaded_of_a_publish_that_was_given_up_counts_for_nothing(ipc: Ipc, meeting: FolderMeeting) -> None:
    group = meeting.open("given-up", 3, TIMEOUT)
    with ThreadPoolExecutor(4) as threads:
        joining = [threads.submit(ipc.join, group, rank) for rank in (1, 2)]
        sender = WeightSender(ipc, group)
        slow, killed = (member.result(timeout=TIMEOUT) for member in joining)
        sending = threads.submit(sender.broadcast, Snapshot.of(manifest_of(1), TENSORS.items(), shared=True))
        receiver = BucketReceiver(slow, manifest_of(1))
        assert len(dict(receiver.tensors())) == len(TENSORS)
        killed.close()
        with pytest.raises(TransferError, match=r"one has left|reset by peer"):
            sending.result(timeout=TIMEOUT)
        sender.close()
        with pytest.raises(TransferError, match=r"the learner gave it up|Broken pipe|reset by peer"):
            receiver.release()
        slow.close()


def test_a_member_that_leaves_before_it_is_through_is_an_error_at_once(ipc: Ipc, meeting: FolderMeeting) -> None:
    group = meeting.open("left", 2, 60.0)
    with ThreadPoolExecutor(2) as threads:
        joining = threads.submit(ipc.join, group, 1)
        sender = WeightSender(ipc, group)
        wire = joining.result(timeout=TIMEOUT)
        sending = threads.submit(sender.broadcast, Snapshot.of(manifest_of(1), TENSORS.items(), shared=True))
        assert len(dict(BucketReceiver(wire, manifest_of(1)).tensors())) == len(TENSORS)
        wire.close()
        with pytest.raises(
            TransferError, match=r"waiting for the members of group 'left' of 2 failed: (one has left|Connection reset)"
        ):
            sending.result(timeout=TIMEOUT)
        sender.close()


def test_more_buckets_than_a_socket_holds_messages_arrive(ipc: Ipc, meeting: FolderMeeting) -> None:
    group, many = meeting.open("many", 2, TIMEOUT), 3000
    with ThreadPoolExecutor(2) as threads:
        joining = threads.submit(ipc.join, group, 1)
        sender = ipc.join(group, 0)
        wire = joining.result(timeout=TIMEOUT)
        for _ in range(2):
            sender.begin(many * 64)
            sending = threads.submit(
                lambda: [sender.broadcast(torch.full((64,), n % 251, dtype=torch.uint8)) for n in range(many)]
            )
            seen = [wire.lend(64) for _ in range(many)]
            sending.result(timeout=TIMEOUT)
            assert [int(part[0]) for part in seen if part is not None] == [number % 251 for number in range(many)]
        close_all([sender, wire])


def test_a_member_that_never_comes_is_an_error_within_the_timeout(ipc: Ipc, meeting: FolderMeeting) -> None:
    began = time.monotonic()
    group = meeting.open("missing", 2, 0.5)
    sender = WeightSender(ipc, group)
    with pytest.raises(TransferError, match="joining group 'missing' of 2 failed: timed out"):
        sender.broadcast(Snapshot.of(manifest_of(1), TENSORS.items()))
    with pytest.raises(TransferError, match="did not all arrive"):
        ipc.await_arrival(group, range(1, 2))
    assert time.monotonic() - began < 4
    sender.close()


def test_a_learner_that_leaves_is_an_error_at_once(ipc: Ipc, meeting: FolderMeeting) -> None:
    group = meeting.open("deserted", 2, 60.0)
    with ThreadPoolExecutor(1) as threads:
        joining = threads.submit(ipc.join, group, 1)
        ipc.join(group, 0).close()
        with pytest.raises(TransferError, match="it has left"):
            receive(joining.result(timeout=TIMEOUT), 1)


def _receive_once(group: Group, folder: Path, told: Connection) -> None:
    wire = Ipc(IpcSettings(folder=folder)).join(group, 1)
    receive(wire, 0)
    told.send("held")
    told.recv()


def test_a_member_that_is_killed_is_an_error_at_once(ipc: Ipc, meeting: FolderMeeting) -> None:
    group = meeting.open("killed", 2, 60.0)
    ours, theirs = get_context("spawn").Pipe()
    member = get_context("spawn").Process(target=_receive_once, args=(group, ipc.settings.folder, theirs))
    member.start()
    sender = WeightSender(ipc, group)
    sender.broadcast(Snapshot.of(manifest_of(0), TENSORS.items()))
    assert ours.poll(60)
    assert ours.recv() == "held"
    assert member.pid is not None
    os.kill(member.pid, 9)
    member.join(TIMEOUT)
    began = time.monotonic()
    with pytest.raises(TransferError, match="broadcasting to group 'killed' of 2 failed"):
        sender.broadcast(Snapshot.of(manifest_of(1), TENSORS.items()))
    assert time.monotonic() - began < 10
    sender.close()


def test_nobody_else_may_connect(ipc: Ipc, meeting: FolderMeeting) -> None:
    group = meeting.open("private", 2, TIMEOUT)
    with ThreadPoolExecutor(1) as threads:
        joining = threads.submit(ipc.join, group, 1)
        learner = ipc.join(group, 0)
        socket = Path(group.endpoint.removeprefix("file://")) / "socket"
        assert socket.stat().st_mode & 0o077 == 0
        close_all([learner, joining.result(timeout=TIMEOUT)])


def test_a_group_of_another_transport_is_named(ipc: Ipc) -> None:
    with pytest.raises(TransferError, match="which is no folder"):
        ipc.join(Group("t", "tcp://127.0.0.1:1", 2, 1.0), 1)
