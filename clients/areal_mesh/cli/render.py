"""`areal-mesh deploy plan` and `render`: which service runs where, and what deploy files differ in by their numbers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.node_plan import ImpossiblePlan, Placement, node_plan
from areal_mesh.cli.resolving import resolved
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.settings import RunSettings


def plan(source: str, overrides: Sequence[str], nodes: int, gpus_per_node: int) -> None:
    """Prints a line a service: its node from 0, role, name, GPUs, or - for none, and a learner's rank of the node."""
    for placement in _planned(resolved(source, overrides), nodes, gpus_per_node):
        gpus = ",".join(map(str, placement.gpus)) or "-"
        print(placement.node, placement.role, placement.service_id, gpus, placement.node_rank)


def render(kind: str, source: str, overrides: Sequence[str], nodes: int, gpus_per_node: int) -> None:
    """Prints the deploy file of a kind."""
    settings = resolved(source, overrides)
    print(KINDS[kind](source, settings, _planned(settings, nodes, gpus_per_node), nodes, gpus_per_node), end="")


def _planned(settings: RunSettings, nodes: int, gpus_per_node: int) -> list[Placement]:
    try:
        return node_plan(settings, nodes, gpus_per_node)
    except ImpossiblePlan as error:
        raise CommandFailed(str(error), EXIT_CANNOT_START) from error


def slurm_command(
    source: str, settings: RunSettings, placements: Sequence[Placement], nodes: int, gpus_per_node: int
) -> str:
    """The command that submits `deploy/slurm/areal-mesh.sbatch` with these numbers."""
    return (
        f"sbatch --job-name={settings.name} --nodes={nodes} --gpus-per-node={gpus_per_node} \\\n"
        f"    --export=ALL,AREAL_MESH_CONFIG={source},AREAL_MESH_GPUS_PER_NODE={gpus_per_node} \\\n"
        "    deploy/slurm/areal-mesh.sbatch\n"
    )


def kubernetes_overlay(
    source: str, settings: RunSettings, placements: Sequence[Placement], nodes: int, gpus_per_node: int
) -> str:
    """A kustomization over `deploy/kubernetes/base`: how many of each service, and GPUs of each."""
    if settings.learner.hosts > 1:
        raise CommandFailed(
            f"learner.hosts = {settings.learner.hosts}: the manifests have a learner of one pod; lower it to 1"
        )
    counts = Counter(placement.role for placement in placements)
    gpus = {placement.role: len(placement.gpus) for placement in placements}
    replicas = "".join(f"  - {{ name: {role}, count: {counts[role]} }}\n" for role in ("verifier", "generator"))
    patches = "".join(_gpu_patch(role, gpus[role]) for role in ("generator", "learner") if gpus[role])
    return (
        f"# {nodes} nodes of {gpus_per_node} GPUs: areal-mesh deploy render kubernetes {source} --nodes {nodes}"
        f" --gpus-per-node {gpus_per_node}\n"
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        "resources: [../../base]\n"
        f"replicas:\n{replicas}"
        "configMapGenerator:\n"
        "  - name: run\n"
        "    behavior: merge\n"
        "    files: [run.toml]\n"
        f"patches:\n{patches}"
    )


def _gpu_patch(role: str, gpus: int) -> str:
    # ~1 stands for the slash of the resource's name.
    path = "/spec/template/spec/containers/0/resources/limits/nvidia.com~1gpu"
    return (
        f"  - target: {{ kind: StatefulSet, name: {role} }}\n"
        "    patch: |\n"
        f'      - {{ op: add, path: {path}, value: "{gpus}" }}\n'
        "      - { op: add, path: /spec/template/spec/volumes/-, value: { name: shm, emptyDir: { medium: Memory } } }\n"
        "      - op: add\n"
        "        path: /spec/template/spec/containers/0/volumeMounts/-\n"
        "        value: { name: shm, mountPath: /dev/shm }\n"
    )


KINDS: Mapping[str, Callable[[str, RunSettings, Sequence[Placement], int, int], str]] = {
    "kubernetes": kubernetes_overlay,
    "slurm": slurm_command,
}
"""Of what a file, or the command that takes its place, is rendered."""
