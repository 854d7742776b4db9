"""The receiving end of a publish as RPCs; the engine is simulated."""

import asyncio
from contextlib import nullcontext
from pathlib import Path

import grpc
import grpc.aio
import pytest

from areal_mesh.generator.engine import WeightUpdateFailed
from areal_mesh.generator.progress import GeneratingClock
from areal_mesh.generator.values import PublishReport
from areal_mesh.generator.weight_receiver import WeightReceiverServicer, WeightsNeverCome
from areal_mesh.runtime.errors import MeshError
from areal_mesh.v1 import common_pb2, generator_pb2
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from tests.integration.generator_contracts import DEADLINE
from tests.integration.generator_mesh import (
    TRANSFER_KEY,
    Mesh,
    heard_controller,
    mesh_of,
    prepare_request,
    receive_request,
    run_mesh,
)


async def test_a_publish_sent_again_answers_as_before_and_transfers_once(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        first = await mesh.publish(4, "g")
        await mesh.stub.PrepareWeights(prepare_request(4, "g"), timeout=DEADLINE)
        assert await mesh.receive(4, "g") == first
        assert mesh.engine.transfers == [4]
        assert (await mesh.publish(4, "rebuilt")).digests == first.digests
        assert mesh.engine.transfers == [4, 4]

    await run_mesh(tmp_path, work, published=False)


async def test_a_version_that_was_not_prepared_or_was_aborted_is_refused(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match="not prepared") as raised:
            await mesh.receive(5, "g")
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await mesh.stub.PrepareWeights(prepare_request(5, "g"), timeout=DEADLINE)
        abort = generator_pb2.AbortWeightsRequest(transfer_id="g", reason="the learner died", transfer_key=TRANSFER_KEY)
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


class Receiver:
    """Takes every version, or leaves the weights torn."""

    def __init__(self, *, torn: bool) -> None:
        self._torn = torn

    async def prepare(self, group: Group, rank: int) -> None:
        """Joins nothing."""

    async def transfer(self, manifest: WeightManifest) -> PublishReport:
        if self._torn:
            raise WeightUpdateFailed(manifest.version, False, "torn")
        return PublishReport(0, 0, 0, 0, 0, 0)

    async def digests(self) -> list[dict[str, str]]:
        return []


@pytest.mark.parametrize(("torn", "counted"), [(True, 0.0), (False, 7.0)])
async def test_time_with_torn_weights_is_no_generating_time(torn: bool, counted: float) -> None:
    now = [0.0]
    clock = GeneratingClock(lambda: now[0])
    servicer = WeightReceiverServicer(clock, lambda: None, heard_controller())
    async with servicer.serve(Receiver(torn=torn)):
        clock.begin()
        await servicer.PrepareWeights(prepare_request(1, "g"), None)
        request = receive_request(1, "g")
        with pytest.raises(MeshError) if torn else nullcontext():
            await servicer.ReceiveWeights(request, None)
        now[0] = 7.0
        assert clock.seconds() == counted


async def test_a_transfer_that_begins_as_the_service_ends_is_finished() -> None:
    servicer = WeightReceiverServicer(GeneratingClock(), lambda: None, heard_controller())
    async with asyncio.TaskGroup() as calls, servicer.serve(Receiver(torn=False)):
        await servicer.PrepareWeights(prepare_request(1, "g"), None)
        request = receive_request(1, "g")
        calls.create_task(servicer.ReceiveWeights(request, None))
        await asyncio.sleep(0)  # the call has begun, and what it does has not
    assert servicer.policy_version == 1


async def test_a_transfer_outlives_the_deadline_of_its_call(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.transfer_gate = asyncio.Event()
        await mesh.stub.PrepareWeights(prepare_request(4, "g"), timeout=DEADLINE)
        request = receive_request(4, "g")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await mesh.stub.ReceiveWeights(request, timeout=0.3)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert mesh.engine.transfers == [4]
        mesh.engine.transfer_gate.set()
        await mesh.receive(4, "g")
        assert mesh.engine.transfers == [4]

    await run_mesh(tmp_path, work, published=False)


async def test_a_version_is_reported_only_once_its_digests_were_taken(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.digest_gate = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(mesh.publish(4))
            await mesh.engine.changes.until(lambda: mesh.engine.version == 4)
            assert mesh.service.report().policy_version == 3
            mesh.engine.digest_gate.set()
        assert publishing.result().digests
        assert mesh.service.report().policy_version == 4

    await run_mesh(tmp_path, work)


@pytest.mark.parametrize("failure", [TimeoutError("no answer"), RuntimeError("a kernel could not be read")])
async def test_a_version_whose_digests_cannot_be_taken_is_not_held(tmp_path: Path, failure: Exception) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.digest_failure = failure
        with pytest.raises(grpc.aio.AioRpcError, match=str(failure)) as raised:
            await mesh.publish(4)
        assert raised.value.code() is grpc.StatusCode.ABORTED
        report = mesh.service.report()
        assert (report.policy_version, report.state) == (-1, common_pb2.SERVICE_STATE_PENDING_WEIGHTS)
        mesh.engine.digest_failure = None
        await mesh.publish(4, "again")
        assert mesh.service.report().policy_version == 4

    await run_mesh(tmp_path, work)


async def test_an_engine_that_takes_no_weights_time_after_time_ends_the_service(tmp_path: Path) -> None:
    async with mesh_of(tmp_path) as mesh:

        async def fail_thrice_in_a_row() -> None:
            for version, failing in ((3, True), (4, True), (5, False), (6, True), (7, True), (8, True)):
                failure = WeightUpdateFailed(version, True, "already active")
                mesh.engine.failure = failure if failing else None
                if not failing:
                    await mesh.publish(version)
                    continue
                with pytest.raises(grpc.aio.AioRpcError, match="already active"):
                    await mesh.publish(version)

        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(fail_thrice_in_a_row())
            with pytest.raises(ExceptionGroup) as raised:
                await mesh.service.run(mesh.context.draining)
            await publishing
        assert raised.group_contains(WeightsNeverCome, match=r"3 publishes in a row.*version 8.*already active")
        assert mesh.engine.transfers == [3, 4, 5, 6, 7, 8]
