"""A run planned on several numbers of nodes: one row each. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from areal_mesh.planning.calibration import CALIBRATIONS, Constants
from areal_mesh.planning.hardware import Hardware
from areal_mesh.planning.layouts import best_split, published_layout
from areal_mesh.planning.lengths import ResponseLengths
from areal_mesh.planning.memory_check import stage_memories
from areal_mesh.planning.published import LIMIT
from areal_mesh.planning.shapes import ModelShape
from areal_mesh.planning.step import UPDATE_PASSES, StepTime, step_time
from areal_mesh.planning.workload import Layout, Workload
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.advantages import WithKlReward

_MOST_RANKS = 1024


@dataclass(frozen=True)
class Assumptions:
    """What a plan rests on beside the settings."""

    shape: ModelShape
    lengths: ResponseLengths
    hardware: Hardware
    constants: Constants
    gpus_per_node: int
    prompts: int
    """Of an epoch."""
    epochs: float
    stage: int
    """That the hours of the epochs are of."""
    split: tuple[int, int] | None = None
    """GPUs to generate and to train; None for AReaL's."""


@dataclass(frozen=True)
class PlanRow:
    """A run on so many nodes."""

    nodes: int
    layout: Layout
    step: StepTime
    hours: float
    """Of the epochs at the stage's limit."""
    schedule_hours: float
    """Of the steps of all stages, each at its most, with responses as long as before training."""
    best: Layout | None
    best_hours: float | None
    """Of the epochs with the best split."""

    def as_json(self) -> dict[str, Any]:
        """The row as one object."""
        best = None
        if self.best is not None:
            best = {
                "generation_gpus": self.best.generation_gpus,
                "training_gpus": self.best.training_gpus,
                "hours": _rounded(self.best_hours),
            }
        return {
            "nodes": self.nodes,
            "hours": _rounded(self.hours),
            "tokens_per_second": round(self.step.tokens_per_second),
            "bottleneck": self.step.bottleneck,
            "step_seconds": _rounded(self.step.seconds),
            "generation_seconds": _rounded(self.step.generation),
            "training_seconds": _rounded(self.step.training),
            "publishing_seconds": _rounded(self.step.publishing),
            "tokens_per_step": round(self.step.tokens),
            "schedule_hours": _rounded(self.schedule_hours),
            "generation_gpus": self.layout.generation_gpus,
            "training_gpus": self.layout.training_gpus,
            "tensor_parallel": self.layout.tensor_parallel,
            "time_shared": self.layout.time_shared,
            "best": best,
        }


def calibration_of(settings: RunSettings) -> str:
    """Name of the constants of the system that works as these settings say."""
    return "areal-async" if settings.algorithm.max_staleness > 0 else "areal-v0.1"


def constants_of(settings: RunSettings) -> Constants:
    """Those constants."""
    return CALIBRATIONS[calibration_of(settings)]


def planned_stage(settings: RunSettings) -> int:
    """The stage that hours are of by default: that of the published hours' limit, or the longest."""
    limits = [stage.max_response_tokens for stage in settings.stages]
    return limits.index(LIMIT) if LIMIT in limits else limits.index(max(limits))


def workload(settings: RunSettings, assumed: Assumptions, stage: int) -> Workload:
    """A step of a stage."""
    algorithm = settings.algorithm
    advantage = algorithm.advantage
    rewarded = isinstance(advantage, WithKlReward) and advantage.kl_coefficient > 0
    reference = rewarded or algorithm.kl_loss is not None
    # Of the proximal policy the first minibatch's pass is the training pass itself.
    proximal = (algorithm.minibatches - 1) / algorithm.minibatches if algorithm.max_staleness > 0 else 0.0
    return Workload(
        assumed.shape,
        assumed.lengths,
        settings.stages[stage].max_response_tokens,
        algorithm.batch_groups,
        algorithm.responses,
        settings.generator.max_sequences,
        algorithm.max_staleness,
        extra_passes=reference + proximal + UPDATE_PASSES * (algorithm.batch_epochs - 1),
    )


def plan_rows(settings: RunSettings, assumed: Assumptions, nodes: list[int]) -> Iterator[PlanRow]:
    """One row for each number of nodes. Raises ValueError: the run cannot be laid out on so few GPUs."""
    least = _least_ranks(settings, assumed)
    for count in nodes:
        yield _row(settings, assumed, count, least)


def _row(settings: RunSettings, assumed: Assumptions, nodes: int, least: int) -> PlanRow:
    gpus, tensor_parallel = nodes * assumed.gpus_per_node, settings.generator.tensor_parallel_size
    overlaps = settings.algorithm.max_staleness > 0
    if assumed.split is None:
        layout = published_layout(gpus, assumed.gpus_per_node, tensor_parallel, overlaps)
    else:
        layout = Layout(*assumed.split, tensor_parallel)
    steps = assumed.epochs * assumed.prompts / settings.algorithm.batch_groups
    times = [
        step_time(workload(settings, assumed, stage), layout, assumed.hardware, assumed.constants)
        for stage in range(len(settings.stages))
    ]
    work = workload(settings, assumed, assumed.stage)
    best = best_split(work, gpus, tensor_parallel, assumed.hardware, assumed.constants, least)
    schedule = sum(plan.max_steps * time.seconds for plan, time in zip(settings.stages, times, strict=True))
    return PlanRow(
        nodes,
        layout,
        times[assumed.stage],
        steps * times[assumed.stage].seconds / 3600,
        schedule / 3600,
        best[0] if best else None,
        steps * best[1].seconds / 3600 if best else None,
    )


def _least_ranks(settings: RunSettings, assumed: Assumptions) -> int:
    """Ranks without which the learner has too little memory."""
    ranks = 1
    while ranks < _MOST_RANKS:
        learner = settings.learner.model_copy(update={"ranks": ranks})
        memories = stage_memories(
            settings.model_copy(update={"learner": learner}), assumed.shape, assumed.hardware.memory
        )
        if all(stage.rank.total <= assumed.hardware.memory for stage in memories):
            return ranks
        ranks *= 2
    return ranks


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
