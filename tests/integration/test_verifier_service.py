"""The verifier service over real gRPC, with its own workers; with a grader of the test where timing matters."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from prometheus_client import REGISTRY

from areal_mesh.grading.verdict import GradeRequest, Verdict
from areal_mesh.grading.workers.queueing import ItemQueue
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.errors import StartupError, retry_seconds
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import AlgorithmSettings, RunSettings
from areal_mesh.v1 import common_pb2, rollout_pb2, verifier_pb2, verifier_pb2_grpc
from areal_mesh.verifier import rewards
from areal_mesh.verifier.composing import Rewards
from areal_mesh.verifier.rewards import GradedResponse
from areal_mesh.verifier.service import SERVICE, Grading, build

DEADLINE = 30.0
CORRECT = rollout_pb2.VERDICT_STATUS_CORRECT
INCORRECT = rollout_pb2.VERDICT_STATUS_INCORRECT
ERROR = rollout_pb2.VERDICT_STATUS_ERROR


class GatedGrader:
    """Grades by equality with the first gold once its gate is open; `broken` is an error."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.entered = asyncio.Semaphore(0)
        self.requests: list[GradeRequest] = []
        self.seconds: list[float] = []

    async def grade_many(self, items: Sequence[GradeRequest], timeout_seconds: float) -> list[Verdict]:
        self.requests += items
        self.seconds.append(timeout_seconds)
        self.entered.release()
        await self.gate.wait()
        return [self._verdict(item) for item in items]

    def _verdict(self, item: GradeRequest) -> Verdict:
        if item.response == "broken":
            return Verdict("error", None, None, "deadline")
        return Verdict("correct" if item.response == item.golds[0] else "incorrect", item.response, None, "text")


def settings_of(folder: Path, **verifier: Any) -> RunSettings:
    return RunSettings.model_validate(
        {
            "name": "test",
            "stages": [{"name": "8", "max_response_tokens": 32, "max_steps": 1}],
            "algorithm": {"reward_scale": 2.0, "reward_bias": 0.5},
            "model": {"folder": folder},
            "prompts": {"file": folder / "prompts.jsonl"},
            "verifier": verifier,
        }
    )


def context_of(folder: Path, **verifier: Any) -> ServiceContext:
    return ServiceContext(settings_of(folder, **verifier), Identity("verifier", "verifier-0"), "127.0.0.1:1")


def request_of(*pairs: tuple[str, str], **fields: Any) -> verifier_pb2.VerifyRequest:
    items = [verifier_pb2.VerifyItem(response=response, gold_answers=[gold]) for response, gold in pairs]
    return verifier_pb2.VerifyRequest(items=items, **fields)


@asynccontextmanager
async def serving(attach: Any) -> "AsyncIterator[verifier_pb2_grpc.VerifierServiceAsyncStub]":
    server = MeshServer("127.0.0.1:0")
    attach(server)
    port = await server.start()
    async with open_channel(f"127.0.0.1:{port}", Identity("generator", "generator-0")) as channel:
        yield verifier_pb2_grpc.VerifierServiceStub(channel)
    await server.stop(0)


@asynccontextmanager
async def serving_grading(grading: Grading) -> "AsyncIterator[verifier_pb2_grpc.VerifierServiceAsyncStub]":
    def attach(server: MeshServer) -> None:
        server.add(verifier_pb2_grpc.add_VerifierServiceServicer_to_server, grading, SERVICE)

    async with serving(attach) as stub:
        yield stub


def grading_of(grader: GatedGrader, max_items: int = 100, terms: Any = None) -> Grading:
    return Grading(grader, ItemQueue(max_items), Rewards(AlgorithmSettings(), terms or {}), "strict_qwen")


async def test_a_batch_is_graded_in_order_with_composed_rewards(tmp_path: Path) -> None:
    service = build(context_of(tmp_path, workers=1))
    async with serving(service.attach) as stub:
        await service.start()
        try:
            request = request_of(
                (r"so \boxed{\frac{1}{2}}", "0.5"),
                (r"\boxed{3}", "4"),
                (r"\boxed{(x+1)^2}", "x^2+2x+1"),
                ("no answer", "4"),
            )
            verdicts = (await stub.Verify(request, timeout=DEADLINE)).verdicts
            again = (await stub.Verify(request, timeout=DEADLINE)).verdicts
        finally:
            await service.close()
    assert [verdict.status for verdict in verdicts] == [CORRECT, INCORRECT, CORRECT, INCORRECT]
    # (s - 0.5) * 2 for s = +1 and -1.
    assert [verdict.reward for verdict in verdicts] == [1, -3, 1, -3]
    assert verdicts[0].extracted == r"\frac{1}{2}"
    assert [verdict.SerializeToString() for verdict in again] == [v.SerializeToString() for v in verdicts]
    report = service.report()
    assert report.metrics["answers_graded"] == 8
    assert report.metrics["cache_hits"] > 0
    assert report.state == common_pb2.SERVICE_STATE_SERVING


async def test_a_full_queue_says_when_to_come_again_and_grades_what_it_admitted() -> None:
    grader = GatedGrader()
    async with serving_grading(grading_of(grader, max_items=3)) as stub, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(_verify(stub, request_of(("1", "1"), ("2", "1"))))
        await grader.entered.acquire()
        with pytest.raises(grpc.aio.AioRpcError, match="2 of 3 answers wait") as raised:
            await stub.Verify(request_of(("1", "1"), ("1", "1")), timeout=DEADLINE)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_seconds(raised.value, -1) >= 0.05
        grader.gate.set()
        assert [verdict.status for verdict in (await first).verdicts] == [CORRECT, INCORRECT]
        assert len((await stub.Verify(request_of(("1", "1"), ("1", "1")), timeout=DEADLINE)).verdicts) == 2


async def test_an_error_verdict_carries_no_reward_and_spoils_no_other() -> None:
    grader = GatedGrader()
    grader.gate.set()
    grading = grading_of(grader)
    async with serving_grading(grading) as stub:
        request = request_of(("broken", "1"), ("1", "1"))
        verdicts = (await stub.Verify(request, timeout=DEADLINE)).verdicts
    assert [(verdict.status, verdict.reward) for verdict in verdicts] == [(ERROR, 0), (CORRECT, 5)]
    assert (grading.graded, grading.errors) == (2, 1)
    # The run's protocol where the request names none; and grading ends before the caller's deadline.
    assert grader.requests[0].protocol == "strict_qwen"
    assert 0 < grader.seconds[0] < DEADLINE


async def test_what_cannot_be_graded_is_refused_by_field() -> None:
    grader = GatedGrader()
    async with serving_grading(grading_of(grader, max_items=1)) as stub:
        without_gold = verifier_pb2.VerifyRequest(items=[verifier_pb2.VerifyItem(response="1")])
        too_many = request_of(("1", "1"), ("1", "1"))
        unknown = request_of(("1", "1"), protocol="none")
        references = verifier_pb2.VerifyRequest(items=[verifier_pb2.VerifyItem(response="1", gold_answers=["1"] * 101)])
        for request, field in (
            (without_gold, r"items\[0\]\.gold_answers.*at least one"),
            (references, r"items\[0\]\.gold_answers.*101 reference answers: give at most 100"),
            (too_many, "items"),
            (unknown, "protocol"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=field) as raised:
                await stub.Verify(request, timeout=DEADLINE)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert grader.requests == []


async def test_reward_terms_are_added_and_one_that_fails_gives_errors_never_rewards() -> None:
    def shorter(responses: Sequence[GradedResponse]) -> list[float]:
        if any(response.token_count is None for response in responses):
            raise RuntimeError("the remote scorer is away")
        return [-0.1 * (response.token_count or 0) - response.truncated for response in responses]

    grader = GatedGrader()
    grader.gate.set()
    async with serving_grading(grading_of(grader, terms={"shorter": shorter})) as stub:
        request = request_of(("1", "1"))
        failed = (await stub.Verify(request, timeout=DEADLINE)).verdicts[0]
        request.items[0].response_tokens = 10
        request.items[0].finish_reason = rollout_pb2.FINISH_REASON_LENGTH
        graded = (await stub.Verify(request, timeout=DEADLINE)).verdicts[0]
    assert (failed.status, failed.reward, failed.rule) == (ERROR, 0, "reward term")
    assert graded.status == CORRECT
    assert graded.reward == pytest.approx(3)


async def test_a_reward_term_that_never_returns_costs_its_own_batches_alone() -> None:
    asked, returns = threading.Semaphore(0), threading.Event()

    def hangs(responses: Sequence[GradedResponse]) -> list[float]:
        if responses[0].token_count is None:
            asked.release()
            assert returns.wait(DEADLINE)
        return [1.0] * len(responses)

    grader = GatedGrader()
    grader.gate.set()
    grading = grading_of(grader, terms={"hangs": hangs})
    async with serving_grading(grading) as stub:
        late = [stub.Verify(request_of(("1", "1")), timeout=3.0) for _ in range(6)]
        for answered in await asyncio.gather(*late):
            assert (answered.verdicts[0].status, answered.verdicts[0].rule) == (ERROR, "reward term")
        # Four threads ask, and no more: two batches never came to one.
        assert [asked.acquire(timeout=0) for _ in range(5)] == [True] * 4 + [False]
        assert grading.queue.waiting == 0
        returns.set()
        request = request_of(("1", "1"))
        request.items[0].response_tokens = 10
        assert (await stub.Verify(request, timeout=DEADLINE)).verdicts[0].reward == pytest.approx(6)
    await grading.rewards.close()


async def test_a_call_whose_caller_left_is_counted_as_cancelled() -> None:
    def cancelled() -> float:
        labels = {"method": f"/{SERVICE}/Verify", "code": "CANCELLED"}
        return REGISTRY.get_sample_value("areal_mesh_rpc_calls_total", labels) or 0.0

    before = cancelled()
    grader = GatedGrader()
    grading = grading_of(grader)
    async with serving_grading(grading) as stub, asyncio.timeout(DEADLINE):
        call = stub.Verify(request_of(("1", "1")), timeout=DEADLINE)
        await grader.entered.acquire()
        call.cancel()
        await grading.quiet.wait()
    assert cancelled() == before + 1


def test_an_unknown_reward_term_or_option_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartupError, match=r"verifier\.reward_terms.*'none_such'"):
        build(context_of(tmp_path, reward_terms={"none_such": {}}))
    point = EntryPoint("length", "areal_mesh.verifier.reward_terms:length_penalty", rewards.ENTRY_POINT_GROUP)
    monkeypatch.setattr(rewards, "entry_points", lambda group: [point])
    with pytest.raises(StartupError, match="speed"):
        build(context_of(tmp_path, reward_terms={"length": {"speed": 3}}))
    options = {"free_tokens": 100, "penalty_per_1000": 0.5}
    assert set(build(context_of(tmp_path, reward_terms={"length": options})).grading.rewards.terms) == {"length"}


async def test_a_drain_grades_what_was_admitted_and_sends_others_elsewhere(tmp_path: Path) -> None:
    context, grader = context_of(tmp_path), GatedGrader()
    service = build(context)
    service.grading.grader = grader
    async with asyncio.timeout(DEADLINE), serving(service.attach) as stub, asyncio.TaskGroup() as tasks:
        run = tasks.create_task(service.run(context.draining))
        admitted = tasks.create_task(_verify(stub, request_of(("1", "1"))))
        await grader.entered.acquire()
        context.draining.set()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Verify(request_of(("1", "1")), timeout=DEADLINE)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert service.report().state == common_pb2.SERVICE_STATE_DRAINING
        assert not run.done()
        grader.gate.set()
        await run
        assert (await admitted).verdicts[0].status == CORRECT
    await service.close()


async def _verify(
    stub: "verifier_pb2_grpc.VerifierServiceAsyncStub", request: verifier_pb2.VerifyRequest
) -> verifier_pb2.VerifyResponse:
    return await stub.Verify(request, timeout=DEADLINE)
