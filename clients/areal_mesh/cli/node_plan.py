"""Which service runs on which node, with which GPUs. Pure: numbers in, placements out.

Invariants:
- a GPU belongs to one service at most, and an engine's GPUs lie on one node;
- controller, replay buffer and verifiers take no GPU; controller and replay buffer lie on the first node;
- the learner takes the last GPUs of the last `learner.hosts` nodes, engines all others, a node's lowest first;
- there is a verifier for every four nodes, one at least.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from areal_mesh.runtime.settings import RunSettings

_NODES_A_VERIFIER = 4


class ImpossiblePlan(ValueError):
    """The nodes cannot hold the run; says what would do."""


@dataclass(frozen=True)
class Placement:
    """One service: `node` from 0, `gpus` as that node numbers them; `node_rank` of a learner over several nodes."""

    node: int
    role: str
    service_id: str
    gpus: tuple[int, ...] = ()
    node_rank: int = 0


def node_plan(settings: RunSettings, nodes: int, gpus_per_node: int) -> list[Placement]:
    """The placements, in the order in which they are started.

    Raises:
        ImpossiblePlan: a part has no place.
    """
    engine, ranks, hosts = _gpus(settings, "generator"), _gpus(settings, "learner"), settings.learner.hosts
    _check_sizes(nodes, gpus_per_node, engine, ranks, hosts)
    free = [list(range(gpus_per_node)) for _ in range(nodes)]
    learners = []
    for node_rank, node in enumerate(range(nodes - hosts, nodes)):
        theirs = tuple(free[node][gpus_per_node - ranks :])
        learners.append(Placement(node, "learner", "learner-0", theirs, node_rank))
        free[node] = free[node][: gpus_per_node - ranks]
    generators = list(_engines(settings, free, engine))
    if not generators:
        raise ImpossiblePlan(
            f"{nodes} node{'s' * (nodes > 1)} of {gpus_per_node} GPUs hold a learner of {ranks} and then no engine of "
            f"{engine}; take more nodes, or lower generator.data_parallel_size or learner.ranks"
        )
    light = [Placement(0, role, f"{role}-0") for role in ("controller", "replay")]
    verifiers = range(max(1, nodes // _NODES_A_VERIFIER))
    light += [Placement(number * _NODES_A_VERIFIER % nodes, "verifier", f"verifier-{number}") for number in verifiers]
    return [*light, *learners, *generators]


def _check_sizes(nodes: int, gpus_per_node: int, engine: int, ranks: int, hosts: int) -> None:
    if hosts > nodes:
        raise ImpossiblePlan(f"learner.hosts = {hosts} with {nodes} nodes; take more, or lower it")
    for role, wanted, key in (
        ("generator", engine, "lower generator.data_parallel_size"),
        ("learner", ranks, "lower learner.ranks, or raise learner.hosts"),
    ):
        if wanted > gpus_per_node:
            raise ImpossiblePlan(f"the {role} takes {wanted} GPUs of one node, which has {gpus_per_node}; {key}")


def _gpus(settings: RunSettings, role: str) -> int:
    """GPUs that one service of a role takes on one node."""
    if role == "generator":
        return settings.generator.transfer_ranks if settings.generator.device == "cuda" else 0
    return settings.learner.ranks // settings.learner.hosts if settings.learner.device == "cuda" else 0


def _engines(settings: RunSettings, free: list[list[int]], size: int) -> Iterator[Placement]:
    """As many engines as fit; on CPU one a node."""
    number = 0
    for node, gpus in enumerate(free):
        for first in range(0, len(gpus) - size + 1, size) if size else (0,):
            yield Placement(node, "generator", f"generator-{number}", tuple(gpus[first : first + size]))
            number += 1
