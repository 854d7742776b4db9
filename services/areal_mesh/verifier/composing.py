"""Rewards composed off the event loop: reward terms may ask a remote scorer, or never return."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from areal_mesh.rewards.process import RewardProcess
from areal_mesh.runtime.settings import AlgorithmSettings
from areal_mesh.verifier.own_rewards import ask_own
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
    own: Sequence[RewardProcess] = ()
    """The user's own, each in a process of its own."""
    alone: bool = False
    """Correctness is no part of the reward."""
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="reward-terms")
    )
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_THREADS))
    """Threads that ask no term. A thread cannot be stopped: it is busy until its term returns, wanted or not."""

    async def start(self) -> None:
        """Loads the user's own rewards. Raises RewardUnusable."""
        for process in self.own:
            await process.start()

    async def of(self, responses: Sequence[GradedResponse], timeout_seconds: float) -> list[ComposedReward]:
        """A reward for each response, None for an error, and what it is made of.

        Raises:
            TimeoutError: the terms did not return in time.
            RewardFailed: one of the user's own gave no rewards.
            Exception: what a term raises.
        """
        if not self.terms and not self.own:
            return compose(responses, self.algorithm, {})
        async with asyncio.timeout(timeout_seconds):
            own = await ask_own(self.own, responses)
            if not self.terms:
                return compose(responses, self.algorithm, {}, own, alone=self.alone)
            await self._free.acquire()
            asked = asyncio.get_running_loop().run_in_executor(
                self._threads, partial(compose, responses, self.algorithm, self.terms, own, alone=self.alone)
            )
            asked.add_done_callback(self._returned)
            return await asyncio.shield(asked)

    def _returned(self, asked: "asyncio.Future[list[ComposedReward]]") -> None:
        self._free.release()
        if not asked.cancelled():
            asked.exception()  # its caller may have left: the loop must not call it unnoticed

    async def close(self) -> None:
        """Takes no further batch; terms that are being asked in threads go on until they return."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self.own:
            await process.close()
