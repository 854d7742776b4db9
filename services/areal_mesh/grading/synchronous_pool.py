"""The pool for programs without an event loop of their own: the command line, scripts, `answer_matches`."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Coroutine, Sequence
from functools import cache
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Final, TypeVar

from areal_mesh.grading.verdict import GradeRequest, Verdict
from areal_mesh.grading.workers.pool import Observer, PoolSettings, WorkerPool

_T = TypeVar("_T")
_SHARED: Final = Lock()


class SynchronousPool:
    """A `WorkerPool` behind ordinary calls, from any thread: its event loop has a thread of its own."""

    def __init__(self, settings: PoolSettings | None = None, *, observe: Observer | None = None) -> None:
        self._settings = settings
        self._observe = observe
        self._pool: WorkerPool | None = None

    def __enter__(self) -> SynchronousPool:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="grading-pool", daemon=True)
        self._thread.start()
        try:
            self._pool = self._run(self._started())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._run(self._pool.close())
        self._stop()

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _started(self) -> WorkerPool:
        pool = WorkerPool(self._settings, observe=self._observe)
        await pool.start()
        return pool

    @property
    def worker_processes(self) -> tuple[int, ...]:
        """Process ids of the workers alive."""
        return self._pool.worker_processes if self._pool is not None else ()

    def grade_many(self, items: Sequence[GradeRequest], timeout_seconds: float) -> list[Verdict]:
        """As `WorkerPool.grade_many`.

        Raises:
            RuntimeError: outside the context manager.
        """
        if self._pool is None:
            raise RuntimeError("the pool has not started: use it in a `with` statement")
        return self._run(self._pool.grade_many(items, timeout_seconds))


def shared_pool() -> SynchronousPool:
    """The one pool of this process, started when first asked for and closed when the process ends."""
    with _SHARED:
        return _pool_of(os.getpid())


@cache
def _pool_of(process: int) -> SynchronousPool:
    """Of one process: a forked child has no use for its parent's."""
    pool = SynchronousPool(PoolSettings(workers=1)).__enter__()
    atexit.register(_close, pool, process)
    return pool


def _close(pool: SynchronousPool, process: int) -> None:
    if os.getpid() == process:
        pool.__exit__(None, None, None)
