"""What vLLM says of itself after each step: kept for whoever asks, and passed on at once."""

from collections.abc import Callable
from typing import Any

from areal_mesh.generator.values import EngineStats


class StepRecorder:
    """Keeps the latest figures of each data-parallel replica."""

    def __init__(self) -> None:
        self._load: dict[int, tuple[int, int, float]] = {}
        self._tokens = 0
        self._preemptions = 0
        self.on_step: Callable[[], None] | None = None

    def record(self, scheduler_stats: Any, iteration_stats: Any, engine_index: int) -> None:
        """Takes in one step of a replica, in vLLM's own words; either may be None."""
        if scheduler_stats is not None:
            running, waiting = scheduler_stats.num_running_reqs, scheduler_stats.num_waiting_reqs
            self._load[engine_index] = (running, waiting, scheduler_stats.kv_cache_usage)
        if iteration_stats is not None:
            self._tokens += iteration_stats.num_generation_tokens
            self._preemptions += iteration_stats.num_preempted_reqs
            if self.on_step is not None:
                self.on_step()

    def stats(self, version: int, paused: bool, open_responses: int) -> EngineStats:
        """The replicas together, as of their last steps."""
        load = list(self._load.values())
        return EngineStats(
            running_requests=sum(running for running, _, _ in load),
            waiting_requests=sum(waiting for _, waiting, _ in load),
            kv_cache_use=max((use for _, _, use in load), default=0.0),
            tokens_generated=self._tokens,
            policy_version=version,
            paused=paused,
            open_responses=open_responses,
            preemptions=self._preemptions,
        )


def logger_of(recorder: StepRecorder) -> type[Any]:
    """A logger of vLLM's kind for a recorder; imports vLLM.

    It takes the place of vLLM's own logger for Prometheus, which is made beside any other kind: that one costs a
    millisecond of the event loop a step, for metrics in a registry that nobody is shown.
    """
    from vllm.v1.metrics.loggers import PrometheusStatLogger

    class StepLogger(PrometheusStatLogger):  # type: ignore[misc]
        """Makes no metric."""

        def __init__(self, vllm_config: Any, engine_indexes: list[int] | None = None) -> None:
            """Takes what vLLM gives, and needs none of it."""

        def record(
            self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
        ) -> None:
            recorder.record(scheduler_stats, iteration_stats, engine_idx)

        def record_admission_rejection(self, reason: str) -> None:
            """Requests are bounded before they reach the engine."""

        def record_sleep_state(self, sleep: int = 0, level: int = 0) -> None:
            """No engine sleeps here."""

        def log_engine_initialized(self) -> None:
            """There is nothing to say."""

    return StepLogger
