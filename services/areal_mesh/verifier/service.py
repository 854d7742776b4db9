"""The verifier service: decode, admit, grade, reward, encode. Stateless but for a cache and what waits."""

import asyncio
import time
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from prometheus_client import Counter, Histogram

from areal_mesh.grading.verdict import GradeRequest, Verdict
from areal_mesh.grading.workers.pool import PoolSettings, WorkerPool
from areal_mesh.grading.workers.queueing import ItemQueue
from areal_mesh.rewards.process import RewardProcess
from areal_mesh.rewards.table import targets_of
from areal_mesh.rewards.values import RewardFailed, RewardUnusable
from areal_mesh.runtime.errors import StartupError, invalid_argument, resource_exhausted, unavailable
from areal_mesh.runtime.rates import CounterRate
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import VerifierSettings
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import common_pb2, rollout_pb2, verifier_pb2, verifier_pb2_grpc
from areal_mesh.verifier.composing import Rewards
from areal_mesh.verifier.messages import (
    UNREFERENCED,
    decode_graded,
    decode_items,
    encode_verdict,
    without_references,
)
from areal_mesh.verifier.rewards import ComposedReward, RewardTerm, load_terms

_LOG = structlog.get_logger("verifier")
SERVICE = "areal_mesh.v1.VerifierService"
_SECONDS = Histogram(
    "areal_mesh_verifier_verdict_duration_seconds",
    "Time to grade an answer",
    ["rule", "status"],
    buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
_UNREWARDED = Counter(
    "areal_mesh_verifier_unrewarded_answers_total", "Graded answers whose reward terms failed or were late"
)
# Part of a caller's deadline that is kept for sending the answer.
_ANSWERING_SHARE = 0.1
_LONGEST_SECONDS = 60.0
# Started while others are busy with answers that take long.
_SPARE_WORKERS = 6
TERM_FAILED = "reward term"


class Grader(typing.Protocol):
    """The part of `WorkerPool` that is used here."""

    async def grade_many(self, items: Sequence[GradeRequest], timeout_seconds: float) -> list[Verdict]:
        """A verdict for each, in order; what is late gets an error."""


@dataclass
class Grading(verifier_pb2_grpc.VerifierServiceServicer):
    """Serves VerifierService."""

    grader: Grader
    queue: ItemQueue
    rewards: Rewards
    default_protocol: str
    rounded_golds: bool = False
    graded: int = 0
    """Verdicts given, errors among them."""
    errors: int = 0
    refusing: bool = False
    """Draining: callers go elsewhere."""
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing waits."""

    def __post_init__(self) -> None:
        self.quiet.set()

    async def Verify(self, request: verifier_pb2.VerifyRequest, context: Any) -> verifier_pb2.VerifyResponse:
        """A verdict for each item, in order. Errors carry no reward."""
        if self.refusing:
            raise unavailable("this verifier drains; ask another")
        unreferenced = without_references(request) if self.rewards.alone else []
        graded = _without(request, unreferenced)
        requests = decode_items(graded, self.default_protocol, rounded_golds=self.rounded_golds)
        self._admit(len(request.items))
        started = time.monotonic()
        try:
            verdicts = await self.grader.grade_many(requests, _working_seconds(context.time_remaining()))
            for index in unreferenced:
                verdicts.insert(index, UNREFERENCED)
            messages = await self._rewarded(request.items, verdicts, _working_seconds(context.time_remaining()))
        finally:
            self.queue.release(len(request.items), time.monotonic() - started)
            if self.queue.waiting == 0:
                self.quiet.set()
        self.graded += len(messages)
        self.errors += sum(message.status == rollout_pb2.VERDICT_STATUS_ERROR for message in messages)
        return verifier_pb2.VerifyResponse(verdicts=messages)

    async def _rewarded(
        self, items: Sequence[verifier_pb2.VerifyItem], verdicts: Sequence[Verdict], seconds: float
    ) -> list[rollout_pb2.Verdict]:
        responses = [decode_graded(item, verdict) for item, verdict in zip(items, verdicts, strict=True)]
        try:
            rewards = await self.rewards.of(responses, seconds)
        except Exception as error:  # noqa: BLE001 a plug-in may raise anything: what it leaves unjudged is an error
            late = isinstance(error, TimeoutError)
            # A function of the user's own is named by file and line already; of anything else the trace is wanted.
            trace = None if late or isinstance(error, RewardFailed) else error
            _LOG.error("a reward term failed", cause=str(error), late=late, exc_info=trace)
            _UNREWARDED.inc(len(verdicts))
            rule = error.cause if isinstance(error, RewardFailed) else TERM_FAILED
            verdicts = [replace(verdict, status="error", rule=rule) for verdict in verdicts]
            rewards = [ComposedReward(None, {})] * len(verdicts)
        return [encode_verdict(verdict, reward) for verdict, reward in zip(verdicts, rewards, strict=True)]

    def _admit(self, items: int) -> None:
        try:
            wait = self.queue.admit(items)
        except ValueError as error:
            raise invalid_argument("items", str(error)) from error
        if wait is not None:
            raise resource_exhausted(
                f"{self.queue.waiting} of {self.queue.max_items} answers wait, {items} more have no room", wait
            )
        self.quiet.clear()


def _without(request: verifier_pb2.VerifyRequest, left_out: Sequence[int]) -> verifier_pb2.VerifyRequest:
    if not left_out:
        return request
    items = [item for index, item in enumerate(request.items) if index not in set(left_out)]
    return verifier_pb2.VerifyRequest(items=items, protocol=request.protocol)


def _working_seconds(time_remaining: float | None) -> float:
    """Seconds for work out of what is left to a caller's deadline; a person's tool may have none."""
    remaining = _LONGEST_SECONDS if time_remaining is None else time_remaining
    return max(0.0, min(remaining, _LONGEST_SECONDS) * (1 - _ANSWERING_SHARE))


class VerifierService:
    """A `Service` of the runtime: the pool of workers behind the RPC."""

    transfer_ranks = 0

    def __init__(self, context: ServiceContext) -> None:
        section = context.settings.verifier
        self._context = context
        self._drain_seconds = section.drain_seconds
        self._pool = WorkerPool(
            PoolSettings(
                workers=section.workers,
                max_workers=section.workers + _SPARE_WORKERS,
                answer_seconds=section.answer_seconds,
                cache_items=section.cache_items,
            ),
            observe=_observe,
        )
        own = [RewardProcess(target) for target in targets_of(section.reward)]
        rewards = Rewards(context.settings.algorithm, _terms(section), own, section.reward_alone)
        self.grading = Grading(
            self._pool, ItemQueue(section.queue_items), rewards, section.protocol, section.rounded_golds
        )
        self._rate = CounterRate()

    def attach(self, server: MeshServer) -> None:
        """Adds VerifierService."""
        server.add(verifier_pb2_grpc.add_VerifierServiceServicer_to_server, self.grading, SERVICE)

    async def start(self) -> None:
        """Starts the workers, and loads the user's rewards. Raises StartupError where one cannot be used."""
        try:
            await self.grading.rewards.start()
        except RewardUnusable as error:
            raise StartupError(f"verifier.reward: {error}") from error
        await self._pool.start()

    async def run(self, draining: asyncio.Event) -> None:
        """Serves until `draining` is set, then until what was admitted is graded."""
        await draining.wait()
        self.grading.refusing = True
        if not await wait_until(self.grading.quiet, self._drain_seconds):
            _LOG.warning("drained with answers ungraded", waiting=self.grading.queue.waiting)

    def report(self) -> HeartbeatReport:
        """State, answers a second, and counters."""
        self._rate.read(self.grading.graded)
        draining = self._context.draining.is_set()
        statistics, cache = self._pool.statistics, self._pool.cache
        return HeartbeatReport(
            state=common_pb2.SERVICE_STATE_DRAINING if draining else common_pb2.SERVICE_STATE_SERVING,
            rate=self._rate.rate(),
            rate_unit="answers",
            seconds_since_progress=self._rate.seconds_since_progress(),
            metrics={
                "answers_graded": float(self.grading.graded),
                "answers_error": float(self.grading.errors),
                "answers_waiting": float(self.grading.queue.waiting),
                "answers_sent_to_workers": float(statistics.in_workers),
                "worker_deadlines": float(statistics.deadlines),
                "worker_crashes": float(statistics.crashes),
                "cache_hits": float(cache.hits),
                "cache_misses": float(cache.misses),
            },
        )

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """Holds no leases: nothing to drop."""

    async def close(self) -> None:
        """Ends the workers and the user's rewards; a reward term that still runs holds the process until it returns."""
        await self.grading.rewards.close()
        await self._pool.close()


def _terms(section: VerifierSettings) -> dict[str, RewardTerm]:
    try:
        return load_terms(section.reward_terms)
    except (ValueError, TypeError) as error:
        raise StartupError(f"verifier.reward_terms: {error}") from error


def _observe(verdict: Verdict, seconds: float) -> None:
    _SECONDS.labels(verdict.rule, verdict.status).observe(seconds)


def build(context: ServiceContext) -> VerifierService:
    """The verifier of a run. Raises StartupError where a reward term is unknown or its options are wrong."""
    return VerifierService(context)
