"""The pool for programs without an event loop: the command line, scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from areal_mesh.grading.verdict import GradeRequest, Verdict
from areal_mesh.grading.workers.pool import Observer, PoolSettings, WorkerPool


class SynchronousPool:
    """A `WorkerPool` behind ordinary calls, as a context manager. Not for use inside a running event loop."""

    def __init__(self, settings: PoolSettings | None = None, *, observe: Observer | None = None) -> None:
        self._runner = asyncio.Runner()
        self._settings = settings
        self._observe = observe
        self._pool: WorkerPool | None = None

    def __enter__(self) -> SynchronousPool:
        self._runner.__enter__()
        try:
            self._runner.run(self._start())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._runner.run(self._pool.close())
        self._runner.close()

    async def _start(self) -> None:
        self._pool = WorkerPool(self._settings, observe=self._observe)
        await self._pool.start()

    def grade_many(self, items: Sequence[GradeRequest], timeout_seconds: float) -> list[Verdict]:
        """As `WorkerPool.grade_many`.

        Raises:
            RuntimeError: outside the context manager.
        """
        if self._pool is None:
            raise RuntimeError("the pool has not started: use it in a `with` statement")
        return self._runner.run(self._pool.grade_many(items, timeout_seconds))
