"""Publishes of what changed alone, over the other transports, members in threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from areal_mesh.runtime.settings.weights import DeltaSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.sender import TransferReport, WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transport import Meeting, Transport, Wire
from areal_mesh.weights.transports.delta import Delta
from areal_mesh.weights.transports.table import build_transport

TIMEOUT, BUCKET = 20.0, 64 << 10
Weights = dict[str, torch.Tensor]


def weights_of(version: int) -> Weights:
    """A hundredth of the words is new with each version."""
    generator = torch.Generator().manual_seed(1)
    weights = {
        f"layer.{index}": torch.randn(200, 211, generator=generator).to(torch.bfloat16) for index in range(5)
    } | {"wide": torch.randn(400, 300, generator=generator)}
    for step in range(version):
        step_generator = torch.Generator().manual_seed(100 + step)
        for tensor in weights.values():
            taken = torch.rand(tensor.shape, generator=step_generator) < 0.01
            tensor += taken * 1.0
    return weights


@pytest.fixture(params=["gloo", "disk", "ipc"])
def delta(request: pytest.FixtureRequest, tmp_path: Path) -> Delta:
    folder: dict[str, Any] = {} if request.param == "gloo" else {"folder": tmp_path / "meeting"}
    transport = build_transport(
        DeltaSettings.model_validate({"over": {"type": request.param, **folder}, "full_every": 4})
    )
    assert isinstance(transport, Delta)
    return transport


@pytest.fixture
def meeting(delta: Delta) -> Iterator[Meeting]:
    meeting = delta.host("127.0.0.1")
    yield meeting
    meeting.close()


def manifest_of(version: int) -> WeightManifest:
    return describe(version, weights_of(version).items(), bucket_bytes=BUCKET)


def receive(wire: Wire, version: int) -> Weights:
    receiver = BucketReceiver(wire, manifest_of(version))
    weights = dict(receiver.tensors())
    receiver.release()
    return weights


def publish(sender: WeightSender, wires: list[Wire], version: int, threads: ThreadPoolExecutor) -> TransferReport:
    """One version to all members, which have to hold it afterwards."""
    weights = weights_of(version)
    receiving = [threads.submit(receive, wire, version) for wire in wires]
    report = sender.broadcast(Snapshot.of(manifest_of(version), weights.items()))
    for member in receiving:
        received = member.result(timeout=2 * TIMEOUT)
        assert all(torch.equal(received[name], tensor) for name, tensor in weights.items())
    return report


def joined(transport: Transport, group: Group, threads: ThreadPoolExecutor) -> tuple[WeightSender, list[Wire]]:
    joining = [threads.submit(transport.join, group, rank) for rank in range(1, group.world_size)]
    sender = WeightSender(transport, group)
    return sender, [member.result(timeout=2 * TIMEOUT) for member in joining]


def leave(sender: WeightSender, wires: list[Wire]) -> None:
    sender.close()
    for wire in wires:
        wire.close()


def test_a_publish_is_exact_and_carries_only_what_changed(delta: Delta, meeting: Meeting) -> None:
    with ThreadPoolExecutor(2) as threads:
        sender, wires = joined(delta, meeting.open("members", 3, TIMEOUT), threads)
        shares = []
        for version in range(6):
            report = publish(sender, wires, version, threads)
            shares.append(report.sent_bytes / report.num_bytes)
        leave(sender, wires)
    whole = [version for version, share in enumerate(shares) if share > 0.9]
    assert whole == [0, 4], "the first, and every fourth"
    # Half the bytes are float32, of which a change touches one word or two: 4 bytes or 8 for each of 1 %.
    assert all(share < 0.05 for version, share in enumerate(shares) if version not in whole)


def test_a_newcomer_gets_the_whole_in_another_group(delta: Delta, meeting: Meeting) -> None:
    with ThreadPoolExecutor(3) as threads:
        sender, wires = joined(delta, meeting.open("two", 2, TIMEOUT), threads)
        publish(sender, wires, 0, threads)
        publish(sender, wires, 1, threads)
        leave(sender, wires)
        sender, wires = joined(delta, meeting.open("three", 3, TIMEOUT), threads)
        assert (whole := publish(sender, wires, 2, threads)).sent_bytes > whole.num_bytes
        assert (less := publish(sender, wires, 3, threads)).sent_bytes < less.num_bytes / 5
        leave(sender, wires)


def test_a_member_that_missed_a_publish_refuses_what_builds_on_it(delta: Delta, meeting: Meeting) -> None:
    with ThreadPoolExecutor(2) as threads:
        sender, wires = joined(delta, meeting.open("members", 2, TIMEOUT), threads)
        publish(sender, wires, 0, threads)
        forgotten = wires[0]
        forgotten._held.buckets[1:2] = [torch.zeros(2, dtype=torch.uint8)]  # type: ignore[attr-defined]
        receiving = threads.submit(receive, forgotten, 1)
        sending = threads.submit(sender.broadcast, Snapshot.of(manifest_of(1), weights_of(1).items()))
        with pytest.raises(TransferError, match="bucket 1 builds on publish 1 of the group, which is not held here"):
            receiving.result(timeout=2 * TIMEOUT)
        forgotten.close()
        sending.exception(timeout=2 * TIMEOUT)
        sender.close()
