"""The generator service: puts engine, tokenizer, rollout loop and weight receiver together, and reports on them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from areal_mesh.generator.answers import Answers, AnswerSource, Streamer
from areal_mesh.generator.concurrency import Concurrency, Look
from areal_mesh.generator.engine import Engine
from areal_mesh.generator.filters.table import build_filters
from areal_mesh.generator.group_work import GroupWork, Sampler
from areal_mesh.generator.leases import Leases
from areal_mesh.generator.progress import GeneratingClock
from areal_mesh.generator.rollout import Load, RolloutLoop
from areal_mesh.generator.servicer import GeneratorServicer
from areal_mesh.generator.tokenizer import load_tokenizer
from areal_mesh.generator.values import EngineStats
from areal_mesh.generator.weight_receiver import NO_VERSION, WeightReceiver, WeightReceiverServicer
from areal_mesh.prompts.renderer import PromptRenderer, Tokenizer, beginning_fault
from areal_mesh.runtime.calling import Members
from areal_mesh.runtime.end_tokens import EndTokenError, end_token_ids
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.rates import CounterRate
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.telemetry import note_phase
from areal_mesh.v1 import common_pb2, generator_pb2_grpc

SERVICE = "areal_mesh.v1.GeneratorService"
_LOG = structlog.get_logger("generator")


class GeneratorEngine(Sampler, Streamer, WeightReceiver, Protocol):
    """What the service asks of its engine (`Engine`)."""

    def stats(self) -> EngineStats:
        """Load, and tokens generated since the start."""

    def notify(self, on_step: Callable[[], None]) -> None:
        """Has `on_step` called after each step of the engine."""

    async def watch(self) -> None:
        """Waits until the engine dies, then raises."""

    def shutdown(self) -> None:
        """Ends the engine's processes."""


class Starter(Protocol):
    """Starts what takes long, after the port is bound."""

    async def engine(self, settings: RunSettings, end_token_ids: tuple[int, ...]) -> GeneratorEngine:
        """The engine, on the model folder's weights, as version -1. Raises StartupError."""

    def tokenizer(self, settings: RunSettings) -> Tokenizer:
        """The tokenizer; blocks for seconds. Raises StartupError."""


class ModelFolderStarter:
    """Starts both from the run's model folder."""

    async def engine(self, settings: RunSettings, end_token_ids: tuple[int, ...]) -> GeneratorEngine:
        """vLLM."""
        return await Engine.start(settings, end_token_ids, NO_VERSION)

    def tokenizer(self, settings: RunSettings) -> Tokenizer:
        """transformers' AutoTokenizer. Raises StartupError."""
        return load_tokenizer(settings.model.folder)


class GeneratorService:
    """A `Service` of the runtime. Takes no lease until it holds weights that the learner published."""

    def __init__(self, context: ServiceContext, starter: Starter) -> None:
        self._context = context
        self._starter = starter
        self._section = context.settings.generator
        self.transfer_ranks = self._section.transfer_ranks
        self._engine: GeneratorEngine | None = None
        self._members = Members(context.controller, context.identity)
        self._tokenizer_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer")
        self._clock = GeneratingClock()
        self._rate = CounterRate()
        self._loop: RolloutLoop | None = None
        self._weights = WeightReceiverServicer(self._clock, self._weights_came, context.standing)
        self._answers = Answers(context.settings, lambda: self._weights.policy_version, context.draining)

    def attach(self, server: MeshServer) -> None:
        """Adds GeneratorService."""
        servicer = GeneratorServicer(self._weights, self._answers)
        server.add(generator_pb2_grpc.add_GeneratorServiceServicer_to_server, servicer, SERVICE)

    async def start(self) -> None:
        """Loads tokenizer and engine. Raises StartupError where a second try is useless."""
        settings = self._context.settings
        if not (settings.model.folder / "config.json").is_file():
            raise StartupError(f"model.folder = {settings.model.folder} holds no config.json; name a model's folder")
        note_phase("loading the tokenizer")
        tokenizer = await asyncio.get_running_loop().run_in_executor(
            self._tokenizer_thread, self._starter.tokenizer, settings
        )
        renderer = PromptRenderer(tokenizer, settings.prompts)
        if fault := beginning_fault(renderer, settings.prompts, tokenizer.bos_token_id):
            raise StartupError(fault)
        try:
            ends = end_token_ids(settings.model.folder, tokenizer.eos_token_id, settings.model.end_token_ids)
        except EndTokenError as error:
            raise StartupError(str(error)) from error
        algorithm, limits = settings.algorithm, [stage.max_response_tokens for stage in settings.stages]
        how = {"temperature": algorithm.temperature, "top_p": algorithm.top_p, "max_response_tokens": limits}
        _LOG.info("samples as the settings say and no other way", end_token_ids=list(ends), **how)
        engine = await self._starter.engine(settings, ends)
        self._engine = engine
        slots = self._section.max_sequences * self._section.data_parallel_size
        self._answers.source = AnswerSource(engine, renderer, self._tokenizer_thread)
        filters = build_filters(settings.algorithm.filters)
        work = GroupWork(engine, renderer, self._members, self._section, self._tokenizer_thread, self._clock, filters)
        self._loop = RolloutLoop(
            leases=Leases(self._members, self._context.identity),
            complete=work.complete,
            load=self._load,
            concurrency=Concurrency.start(slots, settings.algorithm.responses, self._section.max_groups_in_flight),
            drain_seconds=self._section.drain_seconds,
        )
        engine.notify(self._loop.engine_stepped)

    async def run(self, draining: asyncio.Event) -> None:
        """Runs the rollout loop; ends by the engine's exception if it dies."""
        engine, loop = self._started()
        async with asyncio.TaskGroup() as tasks, self._weights.serve(engine):
            watch = tasks.create_task(engine.watch())
            await loop.run(draining)
            watch.cancel()

    def report(self) -> HeartbeatReport:
        """State, version, groups in flight, tokens a second, and the counters below."""
        if self._engine is None or self._loop is None:
            return HeartbeatReport(state=common_pb2.SERVICE_STATE_STARTING)
        stats = self._engine.stats()
        self._rate.read(stats.tokens_generated)
        return HeartbeatReport(
            state=self._state(),
            policy_version=self._weights.policy_version,
            group_ids=self._loop.group_ids,
            rate=self._rate.rate(),
            rate_unit="tokens",
            seconds_since_progress=self._rate.seconds_since_progress(),
            metrics=self._metrics(stats, self._loop),
        )

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """Drops them; their requests are aborted."""
        if self._loop is not None:
            self._loop.lose(group_ids)

    async def close(self) -> None:
        """Ends the engine and closes the channels."""
        await self._members.close()
        self._tokenizer_thread.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            await asyncio.to_thread(self._engine.shutdown)

    def _state(self) -> common_pb2.ServiceState.ValueType:
        if self._context.draining.is_set():
            return common_pb2.SERVICE_STATE_DRAINING
        if self._weights.policy_version == NO_VERSION:
            return common_pb2.SERVICE_STATE_PENDING_WEIGHTS
        return common_pb2.SERVICE_STATE_SERVING

    def _metrics(self, stats: EngineStats, loop: RolloutLoop) -> dict[str, float]:
        ends = {f"groups_{end}": float(count) for end, count in loop.ends.items()}
        return (
            ends
            | self._answers.metrics()
            | {
                "tokens_generated": float(max(0, stats.tokens_generated - self._answers.all_tokens)),
                "generating_seconds": self._clock.seconds(),
                "kv_cache_use": stats.kv_cache_use,
                "groups_in_flight": float(len(loop.group_ids)),
                "responses_open": float(stats.open_responses),
                "responses_limit": float(loop.concurrency.limit),
                "preemptions": float(stats.preemptions),
                "requests_running": float(stats.running_requests),
                "requests_waiting": float(stats.waiting_requests),
                "weight_updates": float(self._weights.received),
                "pause_seconds_total": self._weights.pause_seconds,
                "transfer_seconds_total": self._weights.transfer_seconds,
            }
        )

    def _load(self) -> Load:
        engine, _ = self._started()
        stats = engine.stats()
        look = Look(stats.open_responses, stats.kv_cache_use, stats.preemptions)
        return Load(self._weights.policy_version != NO_VERSION, look)

    def _weights_came(self) -> None:
        if self._loop is not None:
            self._loop.look_again()

    def _started(self) -> tuple[GeneratorEngine, RolloutLoop]:
        assert self._engine is not None, "start() comes before run()"
        assert self._loop is not None
        return self._engine, self._loop


def build(context: ServiceContext) -> GeneratorService:
    """The generator of a run."""
    return GeneratorService(context, ModelFolderStarter())
