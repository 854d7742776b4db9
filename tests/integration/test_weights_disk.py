"""Publishes through a shared folder, members in threads."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from areal_mesh.runtime.settings.weights import DiskSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe, unpack
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.sender import WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transports.disk import Disk
from areal_mesh.weights.transports.folder import FolderMeeting

TIMEOUT = 5.0
TENSORS = {"wide": torch.arange(12000.0).view(300, 40), "half": torch.ones(1000, dtype=torch.bfloat16)}


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(DiskSettings(folder=tmp_path / "shared"))


@pytest.fixture
def meeting(disk: Disk) -> Iterator[FolderMeeting]:
    meeting = disk.host("nobody")
    yield meeting
    meeting.close()


def receive(disk: Disk, group: Group, rank: int, manifest: WeightManifest) -> dict[str, torch.Tensor]:
    wire = disk.join(group, rank)
    buckets = BucketReceiver(wire, manifest).buckets()
    return {spec.name: view for bucket, buffer in buckets for spec, view in unpack(bucket, buffer)}


def test_every_member_receives_what_was_sent_and_old_transfers_go(disk: Disk, meeting: FolderMeeting) -> None:
    with ThreadPoolExecutor(4) as threads:
        for version in range(3):
            group = meeting.open(f"t{version}", 3, TIMEOUT)
            manifest = describe(version, TENSORS.items())
            members = [threads.submit(receive, disk, group, rank, manifest) for rank in (1, 2)]
            disk.await_arrival(group, range(1, 3))
            sender = WeightSender(disk, group)
            assert sender.broadcast(Snapshot.of(manifest, TENSORS.items())).num_bytes == manifest.num_bytes
            sender.close()
            for member in members:
                received = member.result(timeout=30)
                assert all(torch.equal(received[name], tensor) for name, tensor in TENSORS.items())
    assert sorted(path.name for path in disk.settings.folder.iterdir()) == ["t1", "t2"]


def test_a_member_that_never_comes_is_an_error_within_the_timeout(disk: Disk, meeting: FolderMeeting) -> None:
    began = time.monotonic()
    sender = WeightSender(disk, meeting.open("missing", 2, 0.5))
    with pytest.raises(TransferError, match="not all members came"):
        sender.broadcast(Snapshot.of(describe(1, TENSORS.items()), TENSORS.items()))
    assert time.monotonic() - began < 4
    sender.close()


def test_a_learner_that_leaves_is_an_error_at_once(disk: Disk, meeting: FolderMeeting) -> None:
    group = meeting.open("deserted", 2, 60.0)
    with ThreadPoolExecutor(1) as threads:
        member = threads.submit(receive, disk, group, 1, describe(1, TENSORS.items()))
        disk.join(group, 0).close()
        with pytest.raises(TransferError, match="the learner left"):
            member.result(timeout=10)


def test_a_group_of_another_transport_is_named(disk: Disk) -> None:
    with pytest.raises(TransferError, match="which is no folder"):
        disk.join(Group("t", "tcp://127.0.0.1:1", 2, 1.0), 1)
