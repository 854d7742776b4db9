"""What a step takes, and what holds it up."""

from dataclasses import dataclass
from typing import Literal

from areal_mesh.planning.calibration import Constants
from areal_mesh.planning.generation import batch_seconds, latency_seconds, stream_rate
from areal_mesh.planning.hardware import Hardware
from areal_mesh.planning.workload import Layout, Workload

Bottleneck = Literal["generation", "training", "staleness"]
_GPUS_A_NODE = 8
UPDATE_PASSES = 3
"""Of an update, in forward passes: backward takes two."""


@dataclass(frozen=True)
class StepTime:
    """A step's parts in seconds."""

    generation: float
    """Of the batch; where the two overlap, at the rate at which engines that are kept full give it."""
    training: float
    publishing: float
    fixed: float
    """What a step that takes turns takes whatever its size; where the two overlap, it does so beside them."""
    seconds: float
    """Of the step."""
    tokens: float
    bottleneck: Bottleneck
    """What is the longest: with `staleness` the bound holds generation back, which then waits for the learner and the
    learner for it."""

    @property
    def tokens_per_second(self) -> float:
        """Tokens trained a second, prompts included."""
        return self.tokens / self.seconds


def step_time(work: Workload, layout: Layout, hardware: Hardware, constants: Constants) -> StepTime:
    """What a step takes.

    In turn it takes the sum of its parts. Overlapping it takes the longest of three: training, generation, and their
    sum over the `max_staleness + 1` batches that may be under way at a time, for a batch begins `max_staleness + 1`
    publishes before it is trained.
    """
    training = training_seconds(work, layout, hardware, constants)
    publishing = publish_seconds(work, layout, hardware)
    in_turn = layout.time_shared or work.max_staleness == 0
    if in_turn:
        generation = batch_seconds(work, layout, hardware, constants)
        bottleneck: Bottleneck = "generation" if generation > training else "training"
        fixed = constants.fixed_seconds
        seconds = generation + training + publishing + fixed
        return StepTime(generation, training, publishing, fixed, seconds, work.tokens, bottleneck)
    response_tokens = work.sequences * work.lengths.mean(work.limit)
    generation = response_tokens / stream_rate(work, layout, hardware, constants)
    way = latency_seconds(work, layout, hardware, constants) + training + publishing
    waits: dict[Bottleneck, float] = {
        "training": training,
        "generation": generation,
        "staleness": way / (work.max_staleness + 1),
    }
    bottleneck = max(waits, key=lambda name: waits[name])
    seconds = waits[bottleneck] + publishing
    return StepTime(generation, training, publishing, 0.0, seconds, work.tokens, bottleneck)


def training_seconds(work: Workload, layout: Layout, hardware: Hardware, constants: Constants) -> float:
    """Time of a step's passes over its tokens."""
    context = work.lengths.mean_square(work.limit) / (2 * work.lengths.mean(work.limit))
    flops = work.tokens * (UPDATE_PASSES + work.extra_passes) * work.shape.forward_flops(context)
    return flops / (layout.training_gpus * hardware.flops * constants.training_share)


def publish_seconds(work: Workload, layout: Layout, hardware: Hardware) -> float:
    """Time of a broadcast of the weights: over the network as soon as there are two nodes."""
    rate = hardware.network if layout.gpus > _GPUS_A_NODE else hardware.link
    return work.shape.parameters * 2 / rate
