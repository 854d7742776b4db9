"""The generator service over real gRPC, between servicers of the contracts; the engine is simulated."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from generator_contracts import (
    DEADLINE,
    CharacterTokenizer,
    Controller,
    Replay,
    SimulatedEngine,
    Verifier,
    run_settings,
    serve,
)

from areal_mesh.generator.engine import EngineDied, WeightUpdateFailed
from areal_mesh.generator.prompts import Tokenizer
from areal_mesh.generator.service import GeneratorEngine, GeneratorService, build
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.errors import StartupError, resource_exhausted
from areal_mesh.runtime.groups import decode_int32, oldest_policy_version, payload_crc32c
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import common_pb2, controller_pb2, generator_pb2, generator_pb2_grpc, weights_pb2

STORED = controller_pb2.LEASE_END_STORED
FILTERED = controller_pb2.LEASE_END_FILTERED
FAILED = controller_pb2.LEASE_END_FAILED
RETURNED = controller_pb2.LEASE_END_RETURNED


@dataclass
class Starter:
    """Starts the simulated engine."""

    simulated: SimulatedEngine

    async def engine(self, settings: RunSettings) -> GeneratorEngine:
        return self.simulated

    def tokenizer(self, settings: RunSettings) -> Tokenizer:
        return CharacterTokenizer()


@dataclass
class Mesh:
    """A running generator and what is around it."""

    service: GeneratorService
    context: ServiceContext
    stub: Any
    controller_server: MeshServer
    verifier_server: MeshServer
    replay_server: MeshServer
    controller: Controller = field(default_factory=Controller)
    verifier: Verifier = field(default_factory=Verifier)
    replay: Replay = field(default_factory=Replay)
    engine: SimulatedEngine = field(default_factory=SimulatedEngine)

    async def publish(self, version: int, group_id: str = "") -> generator_pb2.ReceiveWeightsResponse:
        group_id = group_id or f"publish {version}"
        await self.stub.PrepareWeights(prepare_request(version, group_id), timeout=DEADLINE)
        return await self.receive(version, group_id)

    async def receive(self, version: int, group_id: str) -> generator_pb2.ReceiveWeightsResponse:
        request = generator_pb2.ReceiveWeightsRequest(policy_version=version, group_id=group_id, checksums=True)
        response: generator_pb2.ReceiveWeightsResponse = await self.stub.ReceiveWeights(request, timeout=DEADLINE)
        return response

    async def ended(self, *problems: str) -> dict[str, controller_pb2.EndLeaseRequest]:
        """Waits until all of them ended."""
        await self.controller.changes.until(lambda: all(self.controller.end_of(problem) for problem in problems))
        return {problem: self.controller.ends[f"group {problem}"] for problem in problems}


def prepare_request(version: int, group_id: str) -> generator_pb2.PrepareWeightsRequest:
    tensor = weights_pb2.TensorSpec(name="w", dtype="float32", shape=[2, 2])
    group = weights_pb2.TransferGroup(group_id=group_id, host="127.0.0.1", port=1234, world_size=2, rank=1)
    group.timeout.FromSeconds(5)
    manifest = weights_pb2.WeightManifest(policy_version=version, tensors=[tensor])
    return generator_pb2.PrepareWeightsRequest(manifest=manifest, group=group)


@asynccontextmanager
async def mesh_of(folder: Path, **generator: Any) -> AsyncIterator[Mesh]:
    controller, verifier, replay, engine = Controller(), Verifier(), Replay(), SimulatedEngine()
    servers = [await serve(servicer) for servicer in (controller, verifier, replay)]
    controller.addresses = {
        common_pb2.ROLE_VERIFIER: f"127.0.0.1:{servers[1].port}",
        common_pb2.ROLE_REPLAY: f"127.0.0.1:{servers[2].port}",
    }
    settings = run_settings(folder, **generator)
    context = ServiceContext(settings, Identity("generator", "generator-0"), f"127.0.0.1:{servers[0].port}")
    service = GeneratorService(context, Starter(engine))
    own = MeshServer("127.0.0.1:0")
    service.attach(own)
    port = await own.start()
    await service.start()
    async with open_channel(f"127.0.0.1:{port}", Identity("controller", "controller-0")) as channel:
        stub = generator_pb2_grpc.GeneratorServiceStub(channel)
        mesh = Mesh(service, context, stub, *servers, controller, verifier, replay, engine)
        try:
            yield mesh
        finally:
            await service.close()
            for server in (own, mesh.controller_server, mesh.verifier_server, mesh.replay_server):
                await server.stop(0)


@pytest.fixture
def run_mesh(tmp_path: Path) -> Callable[..., Awaitable[Mesh]]:
    """Runs a generator from its first weights until `work` is done, then drains it."""

    async def run(work: Callable[[Mesh], Awaitable[None]], published: bool = True, **generator: Any) -> Mesh:
        async with mesh_of(tmp_path, **generator) as mesh:
            async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
                tasks.create_task(mesh.service.run(mesh.context.draining))
                if published:
                    await mesh.publish(3)
                await work(mesh)
                mesh.context.draining.set()
            return mesh

    return run


async def test_a_group_is_leased_sampled_graded_stored_and_ended(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.controller.plan("4")
        await mesh.ended("4")

    mesh = await run_mesh(work)
    end = mesh.controller.end_of("4")
    assert (end.end, end.oldest_policy_version, end.response_tokens, end.mean_reward) == (STORED, 3, 5, 0.0)
    group = mesh.replay.groups["group 4"]
    assert group.crc32c == payload_crc32c(group)
    assert oldest_policy_version(group) == 3
    assert list(decode_int32(group.response_token_ids)) == [ord("4"), 0, ord("4"), ord("4"), 0]
    assert [response.verdict.reward for response in group.responses] == [5, -5]
    problem, sampling = mesh.engine.sampled[0]
    assert (problem, sampling.n, sampling.max_tokens, sampling.seed) == ("4", 2, 32, 7)
    assert sampling.temperature == pytest.approx(0.6)
    assert mesh.verifier.batches == [["4", "44"]]


async def test_nothing_is_leased_before_the_learners_weights_came(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.controller.plan("1")
        before = mesh.service.report()
        assert (before.state, before.policy_version) == (common_pb2.SERVICE_STATE_PENDING_WEIGHTS, -1)
        await mesh.stub.PrepareWeights(prepare_request(0, "g"), timeout=DEADLINE)
        assert mesh.controller.polls == 0
        answer = await mesh.receive(0, "g")
        assert answer.pause.ToMilliseconds() == 250
        assert answer.checksums[0].tensors[0].digest == "digest of 0"
        await mesh.ended("1")
        after = mesh.service.report()
        assert (after.state, after.policy_version) == (common_pb2.SERVICE_STATE_SERVING, 0)
        assert after.metrics["tokens_generated"] == 5
        assert after.metrics["pause_seconds_total"] == pytest.approx(0.875)

    mesh = await run_mesh(work, published=False)
    assert mesh.service.report().metrics["groups_stored"] == 1


async def test_one_failing_group_harms_no_other(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.broken_prompts.add("bad")
        mesh.controller.plan("1", "bad", "2")
        ends = await mesh.ended("1", "bad", "2")
        assert [end.end for end in ends.values()] == [STORED, FAILED, STORED]
        assert "cannot sample bad" in ends["bad"].reason

    await run_mesh(work)


async def test_a_prompt_that_is_too_long_is_filtered_unsampled(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.controller.plan("123456789", "12345678")
        ends = await mesh.ended("123456789", "12345678")
        assert ends["123456789"].end == FILTERED
        assert ends["123456789"].reason.startswith("prompt too long")
        assert ends["12345678"].end == STORED

    mesh = await run_mesh(work)
    assert [problem for problem, _ in mesh.engine.sampled] == ["12345678"]


async def test_error_verdicts_are_sent_again_alone_and_then_filter_the_group(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.verifier.errors = {"aa": 1, "b": 3}
        mesh.controller.plan("a", "b")
        ends = await mesh.ended("a", "b")
        assert ends["a"].end == STORED
        assert ends["b"].end == FILTERED
        assert ends["b"].reason == "verifier error: 1 of 2 responses ungraded after 3 attempts (deadline)"

    mesh = await run_mesh(work, verify_attempts=3)
    assert mesh.verifier.batches.count(["aa"]) == 1
    assert mesh.verifier.batches.count(["b"]) == 2
    assert list(mesh.replay.groups) == ["group a"]


async def test_a_full_verifier_or_replay_buffer_is_waited_for(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.verifier.refusals.extend(resource_exhausted("full", 0.05) for _ in range(3))
        mesh.replay.refusals.extend(resource_exhausted("full", 0.05) for _ in range(3))
        mesh.controller.plan("1")
        assert (await mesh.ended("1"))["1"].end == STORED

    mesh = await run_mesh(work, verify_attempts=1)
    assert len(mesh.verifier.batches) == 4


async def test_a_verifier_that_dies_in_a_batch_and_comes_back_elsewhere_loses_no_group(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.verifier.gate = asyncio.Event()
        mesh.controller.plan("1", "2")
        await mesh.verifier.changes.until(lambda: len(mesh.verifier.batches) == 2)
        await mesh.verifier_server.stop(0)
        again = Verifier()
        mesh.verifier_server = await serve(again)
        mesh.controller.addresses[common_pb2.ROLE_VERIFIER] = f"127.0.0.1:{mesh.verifier_server.port}"
        ends = await mesh.ended("1", "2")
        assert [end.end for end in ends.values()] == [STORED, STORED]
        assert len(again.batches) == 2

    mesh = await run_mesh(work)
    assert len(mesh.engine.sampled) == 2


async def test_a_replay_buffer_that_is_not_there_yet_is_waited_for(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        address = mesh.controller.addresses.pop(common_pb2.ROLE_REPLAY)
        mesh.controller.plan("1")
        await mesh.controller.changes.until(lambda: mesh.controller.finds[common_pb2.ROLE_REPLAY] > 1)
        mesh.controller.addresses[common_pb2.ROLE_REPLAY] = address
        assert (await mesh.ended("1"))["1"].end == STORED

    mesh = await run_mesh(work)
    assert len(mesh.engine.sampled) == 1


async def test_a_controller_that_dies_under_a_group_hears_of_its_end_when_it_is_back(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.gate = asyncio.Event()
        mesh.controller.plan("1")
        await mesh.engine.changes.until(lambda: len(mesh.engine.sampled) == 1)
        port = mesh.controller_server.port
        await mesh.controller_server.stop(0)
        mesh.engine.gate.set()
        mesh.controller_server = await serve(mesh.controller, f"127.0.0.1:{port}")
        mesh.controller.plan("2")
        ends = await mesh.ended("1", "2")
        assert [end.end for end in ends.values()] == [STORED, STORED]

    await run_mesh(work)


async def test_a_drain_hands_back_what_does_not_end_in_time(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.gate = asyncio.Event()
        mesh.controller.plan("1", "2")
        await mesh.engine.changes.until(lambda: len(mesh.engine.sampled) == 2)
        assert set(mesh.service.report().group_ids) == {"group 1", "group 2"}

    mesh = await run_mesh(work, drain_seconds=0.2)
    assert [mesh.controller.ends[f"group {name}"].end for name in "12"] == [RETURNED, RETURNED]
    assert mesh.service.report().state == common_pb2.SERVICE_STATE_DRAINING
    assert mesh.engine.shut_down


async def test_a_lost_lease_is_dropped_and_never_ended(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.gate = asyncio.Event()
        mesh.controller.plan("lost", "kept")
        await mesh.engine.changes.until(lambda: len(mesh.engine.sampled) == 2)
        mesh.service.lose_groups(("group lost",))
        assert mesh.service.report().group_ids == ("group kept",)
        mesh.engine.gate.set()
        await mesh.ended("kept")

    mesh = await run_mesh(work)
    assert list(mesh.controller.ends) == ["group kept"]
    assert list(mesh.replay.groups) == ["group kept"]


async def test_a_publish_sent_again_answers_as_before_and_transfers_once(run_mesh: Any) -> None:
    async def work(mesh: Mesh) -> None:
        first = await mesh.publish(4, "g")
        await mesh.stub.PrepareWeights(prepare_request(4, "g"), timeout=DEADLINE)
        assert await mesh.receive(4, "g") == first
        assert mesh.engine.transfers == [4]
        assert (await mesh.publish(4, "rebuilt")).checksums == first.checksums
        assert mesh.engine.transfers == [4, 4]

    await run_mesh(work, published=False)


async def test_a_version_that_was_not_prepared_or_was_aborted_is_refused(run_mesh: Any) -> None:
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

    mesh = await run_mesh(work)
    assert mesh.engine.transfers == [3]


@pytest.mark.parametrize(("intact", "version"), [(True, 3), (False, -1)])
async def test_a_failed_publish_keeps_serving_only_on_whole_weights(run_mesh: Any, intact: bool, version: int) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.failure = WeightUpdateFailed(4, intact, "the learner left")
        with pytest.raises(grpc.aio.AioRpcError, match="the learner left") as raised:
            await mesh.publish(4)
        assert raised.value.code() is grpc.StatusCode.ABORTED
        assert mesh.service.report().policy_version == version
        mesh.engine.failure = None
        await mesh.publish(4, "again")
        assert mesh.service.report().policy_version == 4

    await run_mesh(work)


async def test_a_transfer_outlives_the_deadline_of_its_call(run_mesh: Any) -> None:
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

    await run_mesh(work, published=False)


async def test_a_dead_engine_ends_the_service(tmp_path: Path) -> None:
    async with mesh_of(tmp_path) as mesh:
        mesh.engine.died.set()
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.timeout(DEADLINE):
                await mesh.service.run(mesh.context.draining)
        assert raised.group_contains(EngineDied)


async def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    settings = run_settings(tmp_path)
    (tmp_path / "config.json").unlink()
    service = build(ServiceContext(settings, Identity("generator", "generator-0"), "127.0.0.1:1"))
    with pytest.raises(StartupError, match=r"model\.folder.*config\.json"):
        await service.start()
    await service.close()
