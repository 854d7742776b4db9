"""The generator service over real gRPC, between servicers of the contracts; the engine is simulated."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from areal_mesh.generator.engine_process import EngineDied
from areal_mesh.generator.service import GeneratorService, build
from areal_mesh.runtime.errors import StartupError, resource_exhausted
from areal_mesh.runtime.groups import decode_int32, oldest_policy_version, payload_crc32c
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.v1 import common_pb2, controller_pb2
from tests.integration.generator_contracts import DEADLINE, SimulatedEngine, Verifier, run_settings, serve
from tests.integration.generator_mesh import Mesh, Starter, mesh_of, prepare_request, run_mesh

STORED = controller_pb2.LEASE_END_STORED
FILTERED = controller_pb2.LEASE_END_FILTERED
FAILED = controller_pb2.LEASE_END_FAILED
RETURNED = controller_pb2.LEASE_END_RETURNED


async def test_a_group_is_leased_sampled_graded_stored_and_ended(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.controller.plan("4")
        await mesh.ended("4")

    mesh = await run_mesh(tmp_path, work)
    end = mesh.controller.ends["group-4"]
    assert (end.end, end.oldest_policy_version, end.response_tokens) == (STORED, 3, 5)
    group = mesh.replay.groups["group-4"]
    assert group.crc32c == payload_crc32c(group)
    assert oldest_policy_version(group) == 3
    assert list(decode_int32(group.response_token_ids)) == [ord("4"), 0, ord("4"), ord("4"), 0]
    assert [response.verdict.reward for response in group.responses] == [5, -5]
    problem, sampling = mesh.engine.sampled[0]
    assert (problem, sampling.responses, sampling.max_response_tokens, sampling.seed) == ("4", 2, 32, 7)
    assert sampling.temperature == pytest.approx(0.6)
    assert mesh.verifier.batches == [["4", "44"]]


async def test_nothing_is_leased_before_the_learners_weights_came(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.controller.plan("1")
        before = mesh.service.report()
        assert (before.state, before.policy_version) == (common_pb2.SERVICE_STATE_PENDING_WEIGHTS, -1)
        await mesh.stub.PrepareWeights(prepare_request(0, "g"), timeout=DEADLINE)
        assert mesh.controller.polls == 0
        answer = await mesh.receive(0, "g")
        assert answer.pause.ToMilliseconds() == 250
        assert answer.digests[0].tensors[0].digest == "digest of 0"
        await mesh.ended("1")
        after = mesh.service.report()
        assert (after.state, after.policy_version) == (common_pb2.SERVICE_STATE_SERVING, 0)
        assert after.metrics["tokens_generated"] == 5
        assert after.metrics["pause_seconds_total"] == pytest.approx(0.875)

    mesh = await run_mesh(tmp_path, work, published=False)
    assert mesh.service.report().metrics["groups_stored"] == 1


async def test_one_failing_group_harms_no_other(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.broken_prompts.add("bad")
        mesh.controller.plan("1", "bad", "2")
        ends = await mesh.ended("1", "bad", "2")
        assert [end.end for end in ends.values()] == [STORED, FAILED, STORED]
        assert "cannot sample bad" in ends["bad"].reason

    await run_mesh(tmp_path, work)


async def test_a_prompt_that_is_too_long_is_filtered_unsampled(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.controller.plan("123456789", "12345678")
        ends = await mesh.ended("123456789", "12345678")
        assert ends["123456789"].end == FILTERED
        assert ends["123456789"].reason.startswith("prompt too long")
        assert ends["12345678"].end == STORED

    mesh = await run_mesh(tmp_path, work)
    assert [problem for problem, _ in mesh.engine.sampled] == ["12345678"]


async def test_error_verdicts_are_sent_again_alone_and_then_filter_the_group(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.verifier.errors = {"aa": 1, "b": 3}
        mesh.controller.plan("a", "b")
        ends = await mesh.ended("a", "b")
        assert ends["a"].end == STORED
        assert ends["b"].end == FILTERED
        assert ends["b"].reason == "verifier error: 1 of 2 responses ungraded after 3 attempts (deadline)"

    mesh = await run_mesh(tmp_path, work, verify_attempts=3)
    assert mesh.verifier.batches.count(["aa"]) == 1
    assert mesh.verifier.batches.count(["b"]) == 2
    assert list(mesh.replay.groups) == ["group-a"]


async def test_a_full_verifier_or_replay_buffer_is_waited_for(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.verifier.refusals.extend(resource_exhausted("full", 0.05) for _ in range(3))
        mesh.replay.refusals.extend(resource_exhausted("full", 0.05) for _ in range(3))
        mesh.controller.plan("1")
        assert (await mesh.ended("1"))["1"].end == STORED

    mesh = await run_mesh(tmp_path, work, verify_attempts=1)
    assert len(mesh.verifier.batches) == 4


async def test_a_verifier_that_dies_in_a_batch_and_comes_back_elsewhere_loses_no_group(tmp_path: Path) -> None:
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

    mesh = await run_mesh(tmp_path, work)
    assert len(mesh.engine.sampled) == 2


async def test_a_replay_buffer_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        address = mesh.controller.addresses.pop(common_pb2.ROLE_REPLAY)
        mesh.controller.plan("1")
        await mesh.controller.changes.until(lambda: mesh.controller.finds[common_pb2.ROLE_REPLAY] > 1)
        mesh.controller.addresses[common_pb2.ROLE_REPLAY] = address
        assert (await mesh.ended("1"))["1"].end == STORED

    mesh = await run_mesh(tmp_path, work)
    assert len(mesh.engine.sampled) == 1


async def test_a_controller_that_dies_under_a_group_hears_of_its_end_when_it_is_back(tmp_path: Path) -> None:
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

    await run_mesh(tmp_path, work)


async def test_a_drain_hands_back_what_does_not_end_in_time(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.gate = asyncio.Event()
        mesh.controller.plan("1", "2")
        await mesh.engine.changes.until(lambda: len(mesh.engine.sampled) == 2)
        assert set(mesh.service.report().group_ids) == {"group-1", "group-2"}

    mesh = await run_mesh(tmp_path, work, drain_seconds=0.2)
    assert [mesh.controller.ends[f"group-{name}"].end for name in "12"] == [RETURNED, RETURNED]
    assert mesh.service.report().state == common_pb2.SERVICE_STATE_DRAINING
    assert mesh.engine.shut_down


async def test_a_lost_lease_is_dropped_and_never_ended(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.engine.gate = asyncio.Event()
        mesh.controller.plan("lost", "kept")
        await mesh.engine.changes.until(lambda: len(mesh.engine.sampled) == 2)
        mesh.service.lose_groups(("group-lost",))
        assert mesh.service.report().group_ids == ("group-kept",)
        mesh.engine.gate.set()
        await mesh.ended("kept")

    mesh = await run_mesh(tmp_path, work)
    assert list(mesh.controller.ends) == ["group-kept"]
    assert list(mesh.replay.groups) == ["group-kept"]


async def test_a_dead_engine_ends_the_service(tmp_path: Path) -> None:
    async with mesh_of(tmp_path) as mesh:
        mesh.engine.died.set()
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.timeout(DEADLINE):
                await mesh.service.run(mesh.context.draining)
        assert raised.group_contains(EngineDied)


UNUSABLE_END_TOKENS: dict[str, tuple[int | None, dict[str, Any], list[int], str]] = {
    "nowhere": (None, {"vocab_size": 9}, [], "no token ends a response, .* set model.end_token_ids"),
    "tokenizer": (
        9,
        {"vocab_size": 9},
        [],
        "the tokenizer: the end token 9 is outside the model's vocabulary of 9",
    ),
    "config": (1, {"vocab_size": 9, "eos_token_id": [2, 70]}, [], "config.json: the end token 70 is outside"),
    "settings": (1, {"vocab_size": 9}, [10], "model.end_token_ids: the end token 10 is outside"),
}


@pytest.mark.parametrize(
    ("of_tokenizer", "config", "chosen", "says"), UNUSABLE_END_TOKENS.values(), ids=UNUSABLE_END_TOKENS
)
async def test_end_tokens_that_cannot_be_used_keep_the_generator_from_starting(
    tmp_path: Path, of_tokenizer: int | None, config: dict[str, Any], chosen: list[int], says: str
) -> None:
    settings = run_settings(tmp_path)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"end_token_ids": chosen})})
    (tmp_path / "config.json").write_text(json.dumps(config))
    starter = Starter(SimulatedEngine())
    starter.found.eos_token_id = of_tokenizer
    service = GeneratorService(ServiceContext(settings, Identity("generator", "generator-0"), "127.0.0.1:1"), starter)
    with pytest.raises(StartupError, match=says):
        await service.start()
    await service.close()


async def test_every_end_token_that_is_named_anywhere_ends_a_response(tmp_path: Path) -> None:
    settings = run_settings(tmp_path)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"end_token_ids": [7]})})
    (tmp_path / "config.json").write_text('{"vocab_size": 9, "text_config": {"eos_token_id": 5}}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [3, 5]}')
    starter = Starter(SimulatedEngine())
    service = GeneratorService(ServiceContext(settings, Identity("generator", "generator-0"), "127.0.0.1:1"), starter)
    with capture_logs() as said:
        await service.start()
    assert starter.simulated.end_token_ids == (0, 3, 5, 7)
    (line,) = [entry for entry in said if "end_token_ids" in entry]
    assert (line["end_token_ids"], line["temperature"], line["max_response_tokens"]) == ([0, 3, 5, 7], 0.6, [32])
    await service.close()


async def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    settings = run_settings(tmp_path)
    (tmp_path / "config.json").unlink()
    service = build(ServiceContext(settings, Identity("generator", "generator-0"), "127.0.0.1:1"))
    with pytest.raises(StartupError, match=r"model\.folder.*config\.json"):
        await service.start()
    await service.close()
