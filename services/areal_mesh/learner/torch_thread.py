"""The one thread on which torch works: its thread pool, and the order of updates and transfers, hang on it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class TorchThread:
    """Runs one piece of work after the other, in the order asked for, beside the event loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="torch")

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, or what it raised. Work that has begun is not cut short by a cancelled caller."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Drops what has not begun; does not wait for what has."""
        self._executor.shutdown(wait=False, cancel_futures=True)
