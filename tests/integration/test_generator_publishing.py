"""The receiving end of a publish as RPCs; the engine is simulated."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest
from generator_contracts import DEADLINE
from generator_mesh import Mesh, prepare_request, run_mesh

from areal_mesh.generator.engine import WeightUpdateFailed
from areal_mesh.v1 import generator_pb2


async def test_a_publish_sent_again_answers_as_before_and_transfers_once(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        first = await mesh.publish(4, "g")
        await mesh.stub.PrepareWeights(prepare_request(4, "g"), timeout=DEADLINE)
        assert await mesh.receive(4, "g") == first
        assert mesh.engine.transfers == [4]
        assert (await mesh.publish(4, "rebuilt")).checksums == first.checksums
        assert mesh.engine.transfers == [4, 4]

    await run_mesh(tmp_path, work, published=False)


async def test_a_version_that_was_not_prepared_or_was_aborted_is_refused(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match="not prepared") as raised:
            await mesh.receive(5, "g")
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await mesh.stub.PrepareWeights(prepare_request(5, "g"), timeout=DEADLINE)
        abort = generator_pb2.AbortWeightsRequest(policy_version=5, reason="the learner died")
        await mesh.stub.AbortWeights(abort, timeout=DEADLINE)
        with pytest.raises(grpc.aio.AioRpcError, match="not prepared"):
            await mesh.receive(5, "g")
        malformed = prepare_request(5, "g")
        malformed.manifest.tensors[0].dtype = "int9"
        with pytest.raises(grpc.aio.AioRpcError, match=r"manifest\.tensors") as raised:
            await mesh.stub.PrepareWeights(malformed, timeout=DEADLINE)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    mesh = await run_mesh(tmp_path, work)
    assert mesh.engine.transfers == [3]


@pytest.mark.parametrize(("intact", "version"), [(True, 3), (False, -1)])
async def test_a_failed_publish_keeps_serving_only_on_whole_weights(tmp_path: Path, intact: bool, version: int) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.failure = WeightUpdateFailed(4, intact, "the learner left")
        with pytest.raises(grpc.aio.AioRpcError, match="the learner left") as raised:
            await mesh.publish(4)
        assert raised.value.code() is grpc.StatusCode.ABORTED
        assert mesh.service.report().policy_version == version
        mesh.engine.failure = None
        await mesh.publish(4, "again")
        assert mesh.service.report().policy_version == 4

    await run_mesh(tmp_path, work)


async def test_a_transfer_outlives_the_deadline_of_its_call(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.transfer_gate = asyncio.Event()
        await mesh.stub.PrepareWeights(prepare_request(4, "g"), timeout=DEADLINE)
        request = generator_pb2.ReceiveWeightsRequest(policy_version=4, group_id="g")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await mesh.stub.ReceiveWeights(request, timeout=0.3)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert mesh.engine.transfers == [4]
        mesh.engine.transfer_gate.set()
        await mesh.receive(4, "g")
        assert mesh.engine.transfers == [4]

    await run_mesh(tmp_path, work, published=False)
