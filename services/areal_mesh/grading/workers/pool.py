"""Grading many answers at once: cheap rules here, algebra in worker processes.

Every answer of a batch gets exactly one verdict. An answer that outlives its deadline, or three workers, gets an
`error`; its worker is killed and replaced, and no other answer waits for it while the pool may still grow. An answer
whose worker was killed from outside is graded again by another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Final, TypeAlias

from areal_mesh.grading.extraction import find_answer
from areal_mesh.grading.grade import grade_extracted
from areal_mesh.grading.strict import qwen as strict_qwen
from areal_mesh.grading.verdict import GradeRequest, Verdict
from areal_mesh.grading.workers import wire
from areal_mesh.grading.workers.cache import Key, VerdictCache
from areal_mesh.grading.workers.processes import Worker, WorkerFactory, WorkerStartError

Observer: TypeAlias = Callable[[Verdict, float], None]
"""Told each verdict and the seconds it took."""

_ATTEMPTS: Final = 3
"""Workers that an answer may see ending before it is given up."""
_WORKER_ENDED: Final = "worker ended"
_QUICK_SECONDS: Final = 0.05
"""Time after which an answer counts as slow, and another worker may start in its stead."""
_YIELD_SECONDS: Final = 0.005
"""How long cheap rules may run before other tasks of the loop get their turn."""
_WORKER_ANSWERS: Final = 2_000
"""Answers after which a worker is replaced, because SymPy's caches grow."""
_WORKER_CPU_SECONDS: Final = 60.0

_GRADER_FAILURES = (ArithmeticError, AssertionError, LookupError, RecursionError, TypeError, ValueError, MemoryError)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Sizes and bounds of a pool."""

    workers: int = 2
    """Workers kept ready."""
    max_workers: int = 8
    """Workers at most, while others are busy with answers that take long."""
    answer_seconds: float = 1.0
    """Deadline of one answer in a worker."""
    worker_memory_bytes: int = 250 << 20
    cache_items: int = 65_536
    """Verdicts kept; 0 switches the cache off."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= self.max_workers:
            raise ValueError(f"workers is {self.workers}: give 1 to max_workers ({self.max_workers})")
        if self.answer_seconds <= 0:
            raise ValueError(f"answer_seconds is {self.answer_seconds}: give a positive time")


@dataclass(slots=True)
class PoolStatistics:
    """Counts since the pool was made."""

    graded: int = 0
    in_workers: int = 0
    """Answers that the cheap rules left to algebra."""
    deadlines: int = 0
    """Of these, answers that were late: in their worker, or waiting for one at the end of their batch's time."""
    crashes: int = 0
    """Workers that ended while they held an answer."""
    workers_started: int = 0


class WorkerPool:
    """Grades batches of requests. `start` before, `close` after; also an async context manager."""

    def __init__(self, settings: PoolSettings | None = None, *, observe: Observer | None = None) -> None:
        self.settings = settings or PoolSettings()
        self.statistics = PoolStatistics()
        self.cache = VerdictCache(self.settings.cache_items)
        self._observe = observe
        self._factory = WorkerFactory(self.settings.worker_memory_bytes)
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        # An answer holds a turn only while it is quick, and a place as long as it has a worker.
        self._turns = asyncio.Semaphore(self.settings.workers)
        self._places = asyncio.Semaphore(self.settings.max_workers)
        self._next_id = 0
        self._closed = False

    async def __aenter__(self) -> WorkerPool:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def worker_processes(self) -> tuple[int, ...]:
        """Process ids of the workers alive."""
        return tuple(worker.process for worker in self._workers)

    @property
    def filtered(self) -> bool:
        """Whether every worker runs under a system-call filter."""
        return all(worker.filtered for worker in self._workers)

    async def start(self) -> None:
        """Start the fork server and the workers kept ready.

        Raises:
            WorkerStartError: if no worker comes up.
        """
        for _ in range(self.settings.workers):
            self._idle.append(await self._new_worker())

    async def close(self) -> None:
        """End every worker and the fork server. What is still being graded gets an `error`."""
        self._closed = True
        for worker in list(self._workers):
            self._discard(worker)
        await self._factory.close()

    async def grade_many(self, items: Sequence[GradeRequest], timeout_seconds: float) -> list[Verdict]:
        """One verdict for each request, in order.

        What is not graded when `timeout_seconds` have passed gets an `error` with the rule `deadline`.

        Raises:
            ValueError: if a request's protocol is unknown.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        verdicts: list[Verdict | None] = [None] * len(items)
        turn = perf_counter()
        async with asyncio.TaskGroup() as group:
            for index, item in enumerate(items):
                started = perf_counter()
                if started - turn > _YIELD_SECONDS:
                    await asyncio.sleep(0)
                    turn = started = perf_counter()
                outcome = self._cheaply(item) if loop.time() < deadline else _error(None, "deadline")
                if isinstance(outcome, Verdict):
                    verdicts[index] = outcome
                    self._graded(outcome, perf_counter() - started)
                else:
                    group.create_task(self._in_worker(outcome, index, verdicts, deadline))
        return [verdict if verdict is not None else _error(None, "deadline") for verdict in verdicts]

    def _graded(self, verdict: Verdict, seconds: float) -> None:
        self.statistics.graded += 1
        if self._observe is not None:
            self._observe(verdict, seconds)

    def _cheaply(self, item: GradeRequest) -> Verdict | Key:
        """The verdict of the cheap rules, or the key of what needs algebra."""
        if item.protocol not in ("qwen", "strict_qwen"):
            raise ValueError(f"protocol is {item.protocol!r}: choose qwen or strict_qwen")
        try:
            if item.protocol == "strict_qwen":
                extracted, joined = strict_qwen.extract(item.response, item.last_number), None
            else:
                stated = find_answer(item.response, last_number=item.last_number)
                extracted, joined = (stated.answer, stated.joined) if stated else (None, None)
            if not extracted:
                return Verdict("incorrect", extracted, extracted, "no answer" if extracted is None else "empty answer")
            key: Key = (extracted, joined, item.golds, item.protocol)
            cached = self.cache.get(key)
            if cached is not None:
                return cached
            verdict = _grade_here(key)
        except _GRADER_FAILURES as error:
            return _error(None, f"grader failed: {type(error).__name__}")
        if verdict is None:
            return key
        self.cache.put(key, verdict)
        return verdict

    async def _in_worker(self, key: Key, index: int, verdicts: list[Verdict | None], deadline: float) -> None:
        started = perf_counter()
        self.statistics.in_workers += 1
        verdict = _error(key[0], "deadline")
        try:
            async with asyncio.timeout_at(deadline):
                for _ in range(_ATTEMPTS):
                    verdict = await self._attempt(key)
                    if verdict.rule != _WORKER_ENDED:
                        break
        except WorkerStartError:
            verdict = _error(key[0], "no worker")
        except wire.FrameTooLong as error:
            verdict = _error(key[0], f"grader failed: {type(error).__name__}")
        except TimeoutError:
            self.statistics.deadlines += 1
            verdict = _error(key[0], "deadline")
        self.cache.put(key, verdict)
        verdicts[index] = verdict
        self._graded(verdict, perf_counter() - started)

    async def _attempt(self, key: Key) -> Verdict:
        """One try in one worker, which is idle again afterwards or gone."""
        async with self._places, self._turn():
            worker = self._idle_worker() or await self._new_worker()
            keep = False
            try:
                async with asyncio.timeout(self.settings.answer_seconds):
                    reply = await worker.ask(self._request(key))
                keep = worker.answers < _WORKER_ANSWERS and worker.cpu_seconds < _WORKER_CPU_SECONDS
                return Verdict(reply.status, key[0], reply.normalised, reply.rule)
            except TimeoutError:
                self.statistics.deadlines += 1
                return _error(key[0], "deadline")
            except wire.BrokenFrame:
                self.statistics.crashes += 1
                return _error(key[0], _WORKER_ENDED)
            finally:
                if keep and len(self._idle) < self.settings.workers:
                    self._idle.append(worker)
                else:
                    self._discard(worker)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A turn among the answers that are quick; given up early by one that is slow, so that others go on."""
        await self._turns.acquire()
        held = True

        def give_up() -> None:
            nonlocal held
            if held:
                held = False
                self._turns.release()

        late = asyncio.get_running_loop().call_later(_QUICK_SECONDS, give_up)
        try:
            yield
        finally:
            late.cancel()
            give_up()

    def _request(self, key: Key) -> dict[str, object]:
        self._next_id += 1
        extracted, joined, golds, protocol = key
        return {"id": self._next_id, "extracted": extracted, "joined": joined, "golds": golds, "protocol": protocol}

    def _idle_worker(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            self._discard(worker)
        return None

    async def _new_worker(self) -> Worker:
        if self._closed:
            raise WorkerStartError("the pool is closed: no worker starts any more")
        worker = await self._factory.spawn()
        self.statistics.workers_started += 1
        self._workers.add(worker)
        return worker

    def _discard(self, worker: Worker) -> None:
        self._workers.discard(worker)
        self._factory.kill(worker)


def _grade_here(key: Key) -> Verdict | None:
    extracted, joined, golds, protocol = key
    if protocol == "strict_qwen":
        return strict_qwen.grade_extracted(extracted, golds, None)
    return grade_extracted(extracted, joined, golds, None)


def _error(extracted: str | None, rule: str) -> Verdict:
    return Verdict("error", extracted, None, rule)
