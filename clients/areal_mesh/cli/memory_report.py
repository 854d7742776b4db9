"""`areal-mesh config check --nodes N --gpus M --memory GB`: whether a run fits, before anything starts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from areal_mesh.cli.plan_model import shape_for
from areal_mesh.cli.tables import print_wide
from areal_mesh.planning.memory_check import StageMemory, memory_faults, memory_remarks, stage_memories
from areal_mesh.runtime.settings import RunSettings

_GB = 1e9


@dataclass(frozen=True)
class Cluster:
    """GPUs that a run is to fit."""

    nodes: int
    gpus: int
    """Of a node."""
    memory: float
    """GB of each."""


def memory_report(settings: RunSettings, cluster: Cluster) -> tuple[list[str], list[str]]:
    """Prints what each stage needs of a GPU; returns why the run does not fit, and what to know where it does.

    Raises:
        CommandFailed: the model's shape is not known.
    """
    if settings.learner.device == "cpu" or settings.generator.device == "cpu":
        return [], ["runs on CPUs: what it needs of a GPU's memory is nothing"]
    memories = stage_memories(settings, shape_for(settings), cluster.memory * _GB)
    print_wide(_table(settings, memories))
    faults = list(memory_faults(settings, memories, cluster.nodes, cluster.gpus, cluster.memory * _GB))
    return faults, list(memory_remarks(settings, memories))


def _table(settings: RunSettings, memories: Sequence[StageMemory]) -> Table:
    ranks, engines = settings.learner.ranks, settings.generator.gpu_count
    table = Table(title=f"{settings.name}: GB of a GPU, {ranks} of the learner and {engines} of engines")
    table.add_column("stage")
    for title in (*memories[0].rank.parts(), "learner's total", "engine's weights", "KV cache", "full responses"):
        table.add_column(title, justify="right")
    for stage in memories:
        learner = (f"{value / _GB:.1f}" for value in stage.rank.parts().values())
        table.add_row(stage.name, *learner, *_generator(stage))
    return table


def _generator(stage: StageMemory) -> Iterator[str]:
    yield f"{stage.rank.total / _GB:.1f}"
    yield f"{stage.engine.parameters / _GB:.1f}"
    yield f"{stage.engine.kv_cache / _GB:.1f}"
    yield f"{stage.sequences:,}"
