"""On which GPUs a run works: as AReaL laid its runs out, and the split that takes least time. Pure."""

from collections.abc import Iterator

from areal_mesh.planning.calibration import Constants
from areal_mesh.planning.hardware import Hardware
from areal_mesh.planning.step import StepTime, step_time
from areal_mesh.planning.workload import Layout, Workload

_GENERATION_SHARE = 0.75
"""Of the GPUs, in the asynchronous paper."""
_TURNS_TENSOR_PARALLEL = 2
"""GPUs of an engine where all take turns: v0.1's allocation on one node, `actor_gen:d4p1m2,*:d4p2m1`."""


def published_layout(gpus: int, gpus_per_node: int, tensor_parallel: int, overlaps: bool) -> Layout:
    """As AReaL would: three quarters generate where generation and training overlap; else halves, or turns on one node.

    GPUs that are no more than an engine has are shared in any case.

    Raises:
        ValueError: fewer GPUs than an engine has.
    """
    if gpus < tensor_parallel:
        raise ValueError(f"{gpus} GPUs are less than an engine's {tensor_parallel}")
    if gpus <= (tensor_parallel if overlaps else gpus_per_node):
        engine = max(tensor_parallel, min(_TURNS_TENSOR_PARALLEL, gpus))
        return Layout(gpus, gpus, engine, time_shared=True)
    generation = int(gpus * (_GENERATION_SHARE if overlaps else 0.5)) // tensor_parallel * tensor_parallel
    generation = max(generation, tensor_parallel)
    return Layout(generation, gpus - generation, tensor_parallel)


def splits(gpus: int, tensor_parallel: int) -> Iterator[Layout]:
    """Every split without turns."""
    for generation in range(tensor_parallel, gpus, tensor_parallel):
        yield Layout(generation, gpus - generation, tensor_parallel)


def best_split(
    work: Workload, gpus: int, tensor_parallel: int, hardware: Hardware, constants: Constants, least_training: int
) -> tuple[Layout, StepTime] | None:
    """The split with the shortest step, and that; None where there is none.

    Args:
        least_training: GPUs that training needs for its memory.
    """
    layouts = (layout for layout in splits(gpus, tensor_parallel) if layout.training_gpus >= least_training)
    timed = ((layout, step_time(work, layout, hardware, constants)) for layout in layouts)
    return min(timed, key=lambda pair: pair[1].seconds, default=None)
