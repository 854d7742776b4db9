"""One attempt at a publish: Prepare, Ready, Transfer, Commit, over the RPCs of the learner and the generators.

Holds no state of the run. All calls of a state run at once, each with the state's deadline. When the first of them
fails, the others get a short grace to fail or finish by themselves, so that the cause shows; then the broadcast group
is dissolved at every member that is still in it.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import grpc.aio

from areal_mesh.controller.publish.policy import Cause, Failure, GeneratorWeights, disagreement, ranks_of
from areal_mesh.runtime.durations import from_duration, to_duration
from areal_mesh.runtime.settings import WeightSettings
from areal_mesh.v1 import generator_pb2, generator_pb2_grpc, learner_pb2, learner_pb2_grpc, weights_pb2

_GRACE_SECONDS = 3.0  # a killed peer shows in 0.3 s on the others; gRPC's own retries of a dead address take 1 s
_ABORT_SECONDS = 5.0
_DEADLINE_MARGIN_SECONDS = 5.0  # calls outlast the group's own timeout, so that members can say what they waited for
_WAVE = 16  # calls begun in one turn of the loop: each takes 0.2 ms to begin
_GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.NOT_FOUND)


_Call = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Ends:
    """The two sides of a publish: the learner, and generators by the key of their life; they obey `transfer_key`."""

    transfer_key: bytes
    learner_key: str
    learner: "learner_pb2_grpc.LearnerServiceAsyncStub"
    generators: Mapping[str, "generator_pb2_grpc.GeneratorServiceAsyncStub"]


@dataclass(frozen=True)
class TransferPlan:
    """What is attempted. `confirmed(version)` waits until the run has committed the version really held."""

    version: int
    group_id: str
    receivers: Sequence[GeneratorWeights]
    settings: WeightSettings
    confirmed: Callable[[int], Awaitable[bool]]


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt ended. `version` is what the learner really sent; `holders` have it. Durations in seconds."""

    version: int
    holders: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    pause: float = 0.0
    transfer: float = 0.0
    resume: float = 0.0
    bytes: int = 0


@dataclass
class _Results:
    """Answers and failures of calls made at once."""

    answers: dict[str, Any] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


async def transfer_weights(ends: Ends, plan: TransferPlan) -> AttemptResult:
    """Carries the learner's weights to the receivers, once. Failures are in the result, one for each member."""
    transfer_id = uuid.uuid4().hex
    opened, failures = await _open(ends, plan, transfer_id)
    if opened is None:
        return AttemptResult(plan.version, failures=failures)
    version = opened.manifest.policy_version
    everyone = [ends.learner_key, *ends.generators]
    if version < plan.version or not await plan.confirmed(version):
        await _dissolve(ends, everyone[:1], transfer_id, f"version {version} is not the one wanted")
        failure = Failure(ends.learner_key, "open", Cause.REFUSED, f"it holds version {version}, not {plan.version}")
        return AttemptResult(version, failures=(failure,))
    prepared = await _prepare(ends, plan, opened, transfer_id)
    if prepared.failures:
        await _dissolve(ends, everyone, transfer_id, "a member could not join")
        return AttemptResult(version, failures=tuple(prepared.failures))
    sent = await _transfer(ends, plan, version, transfer_id)
    if sent.failures:
        done = set(sent.answers)
        await _dissolve(ends, [key for key in everyone if key not in done], transfer_id, "the transfer failed")
    return _commit(ends, plan, version, sent)


async def _open(
    ends: Ends, plan: TransferPlan, transfer_id: str
) -> tuple[learner_pb2.OpenTransferResponse | None, tuple[Failure, ...]]:
    request = learner_pb2.OpenTransferRequest(
        policy_version=plan.version,
        transfer_id=transfer_id,
        world_size=1 + sum(receiver.ranks for receiver in plan.receivers),
        # All members join before any deadline of theirs is over, or say for whom they wait.
        timeout=to_duration(min(plan.settings.prepare_seconds, plan.settings.transfer_seconds)),
        group_id=plan.group_id,
        transfer_key=ends.transfer_key,
    )
    results = await _at_once(
        "open", {ends.learner_key: partial(ends.learner.OpenTransfer, request, timeout=plan.settings.prepare_seconds)}
    )
    return results.answers.get(ends.learner_key), tuple(results.failures)


async def _prepare(
    ends: Ends, plan: TransferPlan, opened: learner_pb2.OpenTransferResponse, transfer_id: str
) -> _Results:
    ranks = ranks_of(plan.receivers)
    calls: dict[str, _Call] = {}
    for receiver in plan.receivers:
        group = weights_pb2.TransferGroup()
        group.CopyFrom(opened.group)
        group.rank = ranks[receiver.key]
        request = generator_pb2.PrepareWeightsRequest(
            manifest=opened.manifest, group=group, transfer_id=transfer_id, transfer_key=ends.transfer_key
        )
        prepare = ends.generators[receiver.key].PrepareWeights
        calls[receiver.key] = partial(
            prepare, request, timeout=plan.settings.prepare_seconds + _DEADLINE_MARGIN_SECONDS
        )
    return await _at_once("prepare", calls)


async def _transfer(ends: Ends, plan: TransferPlan, version: int, transfer_id: str) -> _Results:
    deadline = plan.settings.transfer_seconds + _DEADLINE_MARGIN_SECONDS
    digests = plan.settings.compares_digests
    wanted: dict[str, Any] = {
        "policy_version": version,
        "transfer_id": transfer_id,
        "digests": digests,
        "transfer_key": ends.transfer_key,
    }
    send = learner_pb2.SendWeightsRequest(**wanted)
    calls: dict[str, _Call] = {ends.learner_key: partial(ends.learner.SendWeights, send, timeout=deadline)}
    receive = generator_pb2.ReceiveWeightsRequest(**wanted)
    for receiver in plan.receivers:
        calls[receiver.key] = partial(ends.generators[receiver.key].ReceiveWeights, receive, timeout=deadline)
    return await _at_once("transfer", calls)


def _commit(ends: Ends, plan: TransferPlan, version: int, results: _Results) -> AttemptResult:
    """Compares digests; who agrees holds the version."""
    sent: learner_pb2.SendWeightsResponse | None = results.answers.get(ends.learner_key)
    failures = list(results.failures)
    if sent is None:
        return AttemptResult(version, failures=tuple(failures))
    expected = {tensor.name: tensor.digest for tensor in sent.digests}
    received: dict[str, generator_pb2.ReceiveWeightsResponse] = {}
    for receiver in plan.receivers:
        answer = results.answers.get(receiver.key)
        if answer is None:
            continue
        workers = [{tensor.name: tensor.digest for tensor in worker.tensors} for worker in answer.digests]
        difference = disagreement(expected, workers) if plan.settings.compares_digests else None
        if difference is not None:
            failures.append(Failure(receiver.key, "commit", Cause.CHECKSUMS, difference))
        else:
            received[receiver.key] = answer
    return AttemptResult(
        version,
        holders=tuple(received),
        failures=tuple(failures),
        pause=max((from_duration(answer.pause) for answer in received.values()), default=0.0),
        transfer=max((from_duration(answer.transfer) for answer in received.values()), default=0.0),
        resume=max((from_duration(answer.resume) for answer in received.values()), default=0.0),
        bytes=sent.bytes,
    )


async def _dissolve(ends: Ends, keys: Sequence[str], transfer_id: str, reason: str) -> None:
    """Has members leave the group. One that does not answer leaves it at the group's own timeout."""
    calls: dict[str, _Call] = {}
    words: dict[str, Any] = {"transfer_id": transfer_id, "reason": reason, "transfer_key": ends.transfer_key}
    for key in keys:
        if key == ends.learner_key:
            abort = learner_pb2.AbortTransferRequest(**words)
            calls[key] = partial(ends.learner.AbortTransfer, abort, timeout=_ABORT_SECONDS)
        else:
            leave = generator_pb2.AbortWeightsRequest(**words)
            calls[key] = partial(ends.generators[key].AbortWeights, leave, timeout=_ABORT_SECONDS)
    await _at_once("abort", calls)


async def _at_once(state: str, calls: Mapping[str, _Call]) -> _Results:
    """Makes calls at once, in waves, so that hundreds of them hold up no lease meanwhile.

    After the first failure the others have a short grace; those still silent are given up.
    """
    results = _Results()
    broken = asyncio.Event()

    async def one(key: str, call: _Call) -> None:
        try:
            results.answers[key] = await call()
        except grpc.aio.AioRpcError as error:
            results.failures.append(Failure(key, state, _cause(error.code()), error.details() or error.code().name))
            broken.set()

    async def give_up(tasks: Mapping[str, asyncio.Task[None]]) -> None:
        await broken.wait()
        _, silent = await asyncio.wait(tasks.values(), timeout=_GRACE_SECONDS)
        for key, task in tasks.items():
            if task in silent:
                task.cancel()
                results.failures.append(Failure(key, state, Cause.SILENT, f"no answer in state {state}"))

    async with asyncio.TaskGroup() as group:
        tasks: dict[str, asyncio.Task[None]] = {}
        for key, call in calls.items():
            tasks[key] = group.create_task(one(key, call))
            if len(tasks) % _WAVE == 0:
                await asyncio.sleep(0)  # a turn of the loop for everybody else
        watch = group.create_task(give_up(tasks))
        if tasks:
            await asyncio.wait(tasks.values())
        watch.cancel()
    return results


def _cause(code: grpc.StatusCode) -> Cause:
    if code in _GONE:
        return Cause.GONE
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return Cause.WAITED
    return Cause.SILENT if code is grpc.StatusCode.DEADLINE_EXCEEDED else Cause.REFUSED
