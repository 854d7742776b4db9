"""vLLM's client and the processes behind it: start them, call them with a deadline, notice their death, end them."""

import asyncio
import functools
import gc
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

from areal_mesh.generator.step_recorder import StepRecorder, logger_of
from areal_mesh.generator.values import EngineStats
from areal_mesh.generator.vllm_arguments import vllm_arguments, vllm_environment
from areal_mesh.runtime.environment import pin_threads, split_cores
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.telemetry import note_phase
from areal_mesh.weights.expected_warnings import keep_out
from areal_mesh.weights.vllm_plugin import BACKEND, BOUND_VARIABLE

T = TypeVar("T")
_END_SECONDS = 15.0
"""For the engine's process to end by itself; on a machine whose cores are all at work vLLM's own 5 are too few."""
CALL_SECONDS = 60.0
"""Deadline of a call into the engine that names none: it is answered between two steps, or digests the weights once."""


class EngineDied(RuntimeError):
    """vLLM's engine process is gone. Only a new engine helps."""


class EngineProcess:
    """One `AsyncLLM`. Its `client` is vLLM's; awaited calls go through `call`, or a dead engine would never answer."""

    def __init__(self, client: Any, recorder: StepRecorder, starter: "_Starter | None" = None) -> None:
        self.client = client
        self._recorder = recorder
        self._starter = starter

    @classmethod
    async def start(cls, settings: RunSettings) -> Self:
        """Import vLLM and start it, on a thread: tens of seconds, the event loop goes on.

        Sets the process's environment first, because vLLM and its children read their settings there.
        """
        engine_cores, _ = split_cores(settings.generator.engine_cores)
        os.environ.update(vllm_environment(settings, len(engine_cores), os.environ) | {BOUND_VARIABLE: "1"})
        starter = _Starter(settings, asyncio.get_running_loop())
        try:
            client, recorder = await starter.built
        except BaseException:
            starter.leave()
            raise
        return cls(client, recorder, starter)

    async def call(self, call: Awaitable[T], seconds: float = CALL_SECONDS) -> T:
        """Await a call into the engine for at most `seconds`.

        Raises EngineDied as soon as the engine's process is gone, TimeoutError at the deadline.
        """
        handler: asyncio.Task[None] | None = self.client.output_handler
        try:
            async with asyncio.timeout(seconds) as scope:
                expire = functools.partial(_expire, scope)
                if handler is not None:
                    handler.add_done_callback(expire)
                try:
                    return await call
                finally:
                    if handler is not None:
                        handler.remove_done_callback(expire)
        except TimeoutError as error:
            if self.client.errored:
                raise EngineDied("vLLM's engine process ended during a call; its own log says why") from error
            raise TimeoutError(f"vLLM's engine did not answer a call in {seconds:g} s") from error

    async def watch(self) -> None:
        """Wait until the engine's process dies, then raise EngineDied."""
        await asyncio.wait([self.client.output_handler])
        raise EngineDied("vLLM's engine process ended; its own log says why")

    def stats(self, version: int, paused: bool) -> EngineStats:
        """The engine as of its last step; the responses open in it as of now."""
        ended = isinstance(self.client, _Ended)
        return self._recorder.stats(version, paused, 0 if ended else self.client.get_num_unfinished_requests())

    def notify(self, on_step: Callable[[], None]) -> None:
        """Has `on_step` called after each step whose tokens came."""
        self._recorder.on_step = on_step

    def shutdown(self) -> None:
        """End the processes; blocks for seconds. Idempotent."""
        if isinstance(self.client, _Ended):
            return
        client, self.client = self.client, _Ended()
        handler: asyncio.Task[None] | None = getattr(client, "output_handler", None)
        if handler is not None and not handler.get_loop().is_closed():
            # First, or it takes the end that is meant for the engine's death, and says so with a traceback.
            handler.get_loop().call_soon_threadsafe(handler.cancel)
        client.shutdown(timeout=_END_SECONDS)
        # vLLM's finaliser shuts down once more, and fails loudly when the interpreter's end runs it: the frames of an
        # error that somebody keeps can keep the client until then. What is done is not done again.
        client.shutdown = _nothing
        # It sits in reference cycles besides.
        del client
        gc.collect()
        if self._starter is not None:
            self._starter.leave()


def _nothing(timeout: float | None = None) -> None:
    """A shutdown that is behind us."""


class _Ended:
    """Stands for vLLM's client after `shutdown`."""

    def shutdown(self, timeout: float) -> None:
        """Nothing is left to end."""

    def __getattr__(self, name: str) -> Any:
        raise EngineDied("this engine was shut down")


def _expire(scope: asyncio.Timeout, handler: "asyncio.Task[None]") -> None:
    """Ends the wait for an answer when vLLM's output handler, which would bring it, has ended."""
    scope.reschedule(0)


class _Starter:
    """The thread that starts vLLM, and then stays: vLLM's processes are bound to it, and die when it ends.

    It keeps no reference to the client, which would outlive `shutdown` by it.
    """

    def __init__(self, settings: RunSettings, loop: asyncio.AbstractEventLoop) -> None:
        self.built: asyncio.Future[tuple[Any, StepRecorder]] = loop.create_future()
        self._left = threading.Event()
        # A daemon, for it must not hold up the end of a process that never came to `shutdown`.
        threading.Thread(target=self._start, args=(settings, loop), name="engine-start", daemon=True).start()

    def leave(self) -> None:
        """Ends the thread, and with it whatever process it started that still runs."""
        self._left.set()

    def _start(self, settings: RunSettings, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._deliver, _build_on_cores(settings), None)
        except BaseException as error:  # noqa: BLE001 raised where the start is awaited
            loop.call_soon_threadsafe(self._deliver, None, error)
        self._left.wait()

    def _deliver(self, result: tuple[Any, StepRecorder] | None, error: BaseException | None) -> None:
        built = self.built
        del self.built
        if built.done():  # nobody waits for it any more
            return
        if result is not None:
            built.set_result(result)
        elif error is not None:
            built.set_exception(error)


def _build_on_cores(settings: RunSettings) -> tuple[Any, StepRecorder]:
    """Starts the engine's processes on their cores, which they have from this thread, and leaves those to them."""
    if settings.generator.engine_cores is None:
        return _build(settings)
    engine, service = split_cores(settings.generator.engine_cores)
    os.sched_setaffinity(0, engine)
    try:
        return _build(settings)
    finally:
        pin_threads(service)


def _build(settings: RunSettings) -> tuple[Any, StepRecorder]:
    keep_out()
    note_phase("importing vLLM")
    from vllm.config import WeightTransferConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = AsyncEngineArgs(
        **vllm_arguments(settings), weight_transfer_config=WeightTransferConfig(backend=BACKEND)
    )
    recorder = StepRecorder()
    note_phase("loading weights")
    return AsyncLLM.from_engine_args(arguments, stat_loggers=[logger_of(recorder)]), recorder
