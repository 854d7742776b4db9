"""Rewards composed off the event loop: reward terms may ask a remote scorer, or never return."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from areal_mesh.runtime.settings import AlgorithmSettings
from areal_mesh.verifier.rewards import (
    ComposedReward,
    GradedResponse,
    RewardTerm,
    compose,
)

_THREADS = 4
"""Batches whose terms are asked at once; what comes beyond waits for its own deadline at most."""


@dataclass(frozen=True)
class Rewards:
    """The composed rewards of a batch, each batch with terms in a thread of its own."""

    algorithm: AlgorithmSettings
    terms: Mapping[str, RewardTerm]
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="reward-terms")
    )
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_THREADS))
    """Threads that ask no term. A thread cannot be stopped: it is busy until its term returns, wanted or not."""

    async def of(self, responses: Sequence[GradedResponse], timeout_seconds: float) -> list[float | None]:
        """A reward for each response, None for an error.

        Raises:
            TimeoutError: the terms did not return in time.
            Exception: what a term raises.
        """
        if not self.terms:
            return [composed.reward for composed in compose(responses, self.algorithm, {})]
        async with asyncio.timeout(timeout_seconds):
            await self._free.acquire()
            asked = asyncio.get_running_loop().run_in_executor(
                self._threads, compose, responses, self.algorithm, self.terms
            )
            asked.add_done_callback(self._returned)
            found = await asyncio.shield(asked)
        return [composed.reward for composed in found]

    def _returned(self, asked: "asyncio.Future[list[ComposedReward]]") -> None:
        self._free.release()
        if not asked.cancelled():
            asked.exception()  # its caller may have left: the loop must not call it unnoticed

    def close(self) -> None:
        """Takes no further batch; terms that are being asked go on until they return."""
        self._threads.shutdown(wait=False, cancel_futures=True)
