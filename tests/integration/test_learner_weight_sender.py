"""The learner's end of a publish: from snapshots, while it trains."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import torch

from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.snapshots import WeightSnapshots
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.learner.weight_sender import WeightSenderServicer
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import MeshError
from areal_mesh.runtime.settings import load_settings
from areal_mesh.v1 import learner_pb2
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.messages import decode_group, decode_manifest
from areal_mesh.weights.packing import unpack
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.transports.gloo import GlooWire
from tests.integration.generator_mesh import TRANSFER_KEY, heard_controller

SECONDS = 20.0


@dataclass
class Leader:
    """Weights that all have the value of their version."""

    policy_version: int = 0
    dtype: torch.dtype = torch.float32
    model_config: dict[str, Any] = field(default_factory=lambda: {"num_attention_heads": 1})

    def tensor_specs(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [("layer.norm.weight", torch.float32, (300, 40))]

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield "layer.norm.weight", torch.full((300, 40), float(self.policy_version))


@dataclass
class Parts:
    leader: Leader
    torch: TorchThread
    snapshots: WeightSnapshots
    servicer: WeightSenderServicer

    async def commit(self) -> None:
        self.leader.policy_version += 1
        await self.snapshots.take()

    async def open(
        self, name: str, version: int = 0, seconds: float = SECONDS, group: str = ""
    ) -> learner_pb2.OpenTransferResponse:
        request = learner_pb2.OpenTransferRequest(
            policy_version=version,
            transfer_id=name,
            group_id=group or name,
            world_size=2,
            timeout=to_duration(seconds),
            transfer_key=TRANSFER_KEY,
        )
        return await self.servicer.OpenTransfer(request, None)

    async def send(self, name: str) -> learner_pb2.SendWeightsResponse:
        request = learner_pb2.SendWeightsRequest(transfer_id=name, digests=True, transfer_key=TRANSFER_KEY)
        return await self.servicer.SendWeights(request, None)

    async def abort(self, name: str) -> None:
        request = learner_pb2.AbortTransferRequest(transfer_id=name, transfer_key=TRANSFER_KEY)
        await self.servicer.AbortTransfer(request, None)


@asynccontextmanager
async def parts_in(folder: Path) -> AsyncIterator[Parts]:
    run = load_settings("trial-short", [f"directory={folder}", "weights.transport.type=gloo"])
    leader, worker = Leader(), TorchThread()

    async def ranks() -> int:
        return 4

    snapshots = WeightSnapshots(lambda: cast(RankLeader, leader), worker, 1 << 20)
    servicer = WeightSenderServicer(run, lambda: cast(RankLeader, leader), snapshots, ranks, heard_controller())
    await snapshots.take()
    async with asyncio.timeout(3 * SECONDS):
        yield Parts(leader, worker, snapshots, servicer)
    servicer.close()
    worker.close()


def joined(opened: learner_pb2.OpenTransferResponse) -> GlooWire:
    group = opened.group
    group.rank = 1
    return GlooWire(decode_group(group), 1)


def values_of(wire: GlooWire, opened: learner_pb2.OpenTransferResponse) -> set[float]:
    """The values of the weights that one generator gets."""
    values: set[float] = set()
    for bucket, buffer in BucketReceiver(wire, decode_manifest(opened.manifest)).buckets():
        for _, view in unpack(bucket, buffer):
            values |= set(view.flatten().tolist())
    return values


def receive(opened: learner_pb2.OpenTransferResponse) -> float:
    """The same, by a generator that joins and leaves."""
    wire = joined(opened)
    (value,) = values_of(wire, opened)
    wire.close()
    return value


async def test_a_transfer_sends_its_own_version_however_many_are_committed_meanwhile(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as generator:
        async with parts_in(tmp_path) as parts:
            for version in (0, 3):
                opened = await parts.open(f"t{version}")
                assert opened.manifest.policy_version == version
                for _ in range(3):
                    await parts.commit()
                received = generator.submit(receive, opened)
                sent = await parts.send(f"t{version}")
                assert received.result(SECONDS) == version
                assert sent.bytes == 300 * 40 * 4
            assert len(parts.snapshots._held) == 2


async def test_a_newcomer_is_served_while_an_update_is_in_progress(tmp_path: Path) -> None:
    ended = threading.Event()
    with ThreadPoolExecutor(1) as generator:
        async with parts_in(tmp_path) as parts, asyncio.TaskGroup() as tasks:
            updating = tasks.create_task(parts.torch.run(ended.wait))
            opened = await parts.open("newcomer")
            received = generator.submit(receive, opened)
            await parts.send("newcomer")
            assert received.result(SECONDS) == 0
            assert not updating.done()
            ended.set()


async def test_an_abort_ends_the_transfer_that_it_names(tmp_path: Path) -> None:
    async with parts_in(tmp_path) as parts:
        opened = await parts.open("present", seconds=1.0)
        await parts.abort("former")
        assert await parts.open("present") == opened
        await parts.abort("present")
        with pytest.raises(MeshError, match="not open") as raised:
            await parts.send("present")
        assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION
        assert parts.snapshots._lent == []


async def test_what_a_given_up_transfer_still_sends_is_not_written_over(tmp_path: Path) -> None:
    async with parts_in(tmp_path) as parts:
        await parts.open("given-up", seconds=1.0)
        sending = asyncio.ensure_future(parts.send("given-up"))
        await asyncio.sleep(0)
        sending.cancel()  # as when its call's deadline is over
        await asyncio.gather(sending, return_exceptions=True)
        (lent,) = parts.snapshots._lent
        for _ in range(3):
            await parts.commit()
        assert lent.manifest.version == 0
        assert all(bool((weight == 0).all()) for _, weight in lent.named_tensors())
        await asyncio.to_thread(parts.servicer._threads.shutdown)
        assert parts.snapshots._lent == []


async def test_a_group_is_kept_from_one_transfer_to_the_next_and_left_after_one_that_failed(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as generator:
        async with parts_in(tmp_path) as parts:
            opened = await parts.open("t0", group="members")
            joining = generator.submit(joined, opened)
            wire = await asyncio.wrap_future(joining)
            for version in range(3):
                opened = await parts.open(f"t{version}", group="members")
                received = generator.submit(values_of, wire, opened)
                await parts.send(f"t{version}")
                assert received.result(SECONDS) == {float(version)}
                await parts.commit()
            await parts.open("t3", group="members")
            await parts.abort("t3")
            with pytest.raises(TransferError):
                await asyncio.wrap_future(generator.submit(values_of, wire, opened))
            opened = await parts.open("t4", group="others")
            last = generator.submit(receive, opened)
            await parts.send("t4")
            assert last.result(SECONDS) == 3
