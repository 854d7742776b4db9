"""What a machine's properties mean for a run, each with its remedy. Pure: one function a property, one table of all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from areal_mesh.cli.machine import Machine
from areal_mesh.runtime.settings import RunSettings

Level = Literal["fine", "remark", "fault"]
_MEMORY_GIB = 2.5
"""All five services of the trial, vLLM's processes among them, but for the KV cache: what they were seen to hold."""
_SHARED_MEMORY_GIB = 0.25
_DISK_GIB = 2.0
_GPU_GIB = 40.0
"""The 1.5B preset's learner: weights, gradients and Adam's state in float32 over eight GPUs, and a 24K response."""


@dataclass(frozen=True)
class Finding:
    """One property: how it is, and what would do where it is not as it has to be."""

    name: str
    level: Level
    found: str
    remedy: str = ""


Check = Callable[[Machine, RunSettings], Finding]


def findings(machine: Machine, settings: RunSettings) -> Iterator[Finding]:
    """All of them, for this run."""
    for check in CHECKS:
        yield check(machine, settings)


def lacks(machine: Machine, settings: RunSettings) -> Iterator[str]:
    """Why the machine cannot run it, as far as the launcher looks, a line each."""
    for check in OF_THE_LAUNCHER:
        finding = check(machine, settings)
        if finding.level == "fault":
            yield f"{finding.name}: {finding.found}; {finding.remedy}"


def _wants_gpu(settings: RunSettings) -> bool:
    return "cuda" in (settings.generator.device, settings.learner.device)


def _enough(name: str, found: str, has: float, needed: float, level: Level, remedy: str) -> Finding:
    """Fine where the machine has what is needed; else of `level`."""
    return Finding(name, "fine", found) if has >= needed else Finding(name, level, found, remedy)


def _cores(machine: Machine, settings: RunSettings) -> Finding:
    remedy = "generation and training take turns on one; give the process a second"
    return _enough("cores", f"{machine.cores} for this process", machine.cores, 2, "remark", remedy)


def _instructions(machine: Machine, settings: RunSettings) -> Finding:
    name = "CPU instructions"
    if {"avx512f", "avx512bw", "avx512vl"} <= machine.cpu_flags:
        return Finding(name, "fine", "AVX-512")
    if settings.generator.device == "cuda":
        return Finding(name, "fine", "AVX2" if "avx2" in machine.cpu_flags else "neither AVX2 nor AVX-512")
    if "avx2" in machine.cpu_flags:
        return Finding(name, "remark", "AVX2", "the engine's kernels are slower than with AVX-512")
    remedy = "the engine's CPU build needs AVX2; take a machine that has it, or one with a GPU"
    return Finding(name, "fault", "neither AVX2 nor AVX-512", remedy)


def _memory(machine: Machine, settings: RunSettings) -> Finding:
    found = f"{machine.memory_gib:.1f} GiB free"
    needed = _MEMORY_GIB + settings.generator.kv_cache_gib * (settings.generator.device == "cpu")
    remedy = f"the services need {needed:.2f} GiB beside the model; free some"
    return _enough("memory", found, machine.memory_gib, needed, "fault", remedy)


def _shared_memory(machine: Machine, settings: RunSettings) -> Finding:
    """Several ranks talk through it; an engine in one process does without."""
    several = settings.weights.transport.needs_gpus or settings.generator.transfer_ranks > 1
    found = f"{machine.shared_memory_gib:.2f} GiB free in /dev/shm"
    remedy = (
        f"NCCL and vLLM's ranks need {_SHARED_MEMORY_GIB} GiB; in a container: --shm-size=1g (compose: shm_size: 1g)"
    )
    level: Level = "fault" if several else "remark"
    return _enough("shared memory", found, machine.shared_memory_gib, _SHARED_MEMORY_GIB, level, remedy)


def _disk(machine: Machine, settings: RunSettings) -> Finding:
    """No fault: a run waits where the disk is full, and goes on when there is room again."""
    found = f"{machine.disk_gib:.1f} GiB free under {settings.directory}"
    remedy = f"log, checkpoints and export want {_DISK_GIB:g} GiB; free some, or set directory to another disk"
    return _enough("disk", found, machine.disk_gib, _DISK_GIB, "remark", remedy)


def _packages(machine: Machine, settings: RunSettings) -> Finding:
    found = ", ".join(f"{name} {version}" for name, version in machine.packages.items() if name != "nccl") or "none"
    missing = [name for name in ("torch", "transformers", "vllm") if name not in machine.packages]
    if not missing:
        return Finding("packages", "fine", found)
    remedy = f"{' and '.join(missing)} missing: `make setup`, or install areal-mesh[generator,learner,verifier,cpu]"
    return Finding("packages", "fault", found, remedy)


def _torch_build(machine: Machine, settings: RunSettings) -> Finding:
    """A wheel's build stands in its version: `+cpu`, `+cu130`, or nothing for the index's own, which is for CUDA."""
    version = machine.packages.get("torch", "")
    on_cpu = version.endswith("+cpu")
    found = "for the CPU" if on_cpu else "for CUDA" if version else "none"
    if _wants_gpu(settings) and on_cpu:
        return Finding(
            "torch's build", "fault", found, "this run is for GPUs: `make setup GPU=1`, or install areal-mesh[gpu]"
        )
    return Finding("torch's build", "fine", found)


def _gpus(machine: Machine, settings: RunSettings) -> Finding:
    found = ", ".join(f"{gpu.name} {gpu.memory_gib:.0f} GiB (driver {gpu.driver})" for gpu in machine.gpus) or "none"
    if not _wants_gpu(settings):
        return Finding("GPUs", "fine", found)
    wanted = wanted_gpus(settings)
    if len(machine.gpus) < wanted:
        remedy = (
            f'this run takes {wanted} on one machine; set device = "cpu" and weights.transport.type = "gloo", or take '
            "a machine with so many, and a driver that nvidia-smi answers for"
        )
        return Finding("GPUs", "fault", found, remedy)
    if min(gpu.memory_gib for gpu in machine.gpus) < _GPU_GIB:
        return Finding(
            "GPUs", "remark", found, f"under {_GPU_GIB:g} GiB each: lower learner.max_tokens_per_micro_batch"
        )
    return Finding("GPUs", "fine", found)


def wanted_gpus(settings: RunSettings) -> int:
    """GPUs that a run takes on one machine."""
    generator, learner = settings.generator, settings.learner
    engine = generator.transfer_ranks if generator.device == "cuda" else 0
    return engine + (learner.ranks if learner.device == "cuda" else 0)


def _nccl(machine: Machine, settings: RunSettings) -> Finding:
    found = machine.packages.get("nccl", "none")
    if settings.weights.transport.needs_gpus and found == "none":
        remedy = 'it comes with torch\'s CUDA build; install that, or set weights.transport.type = "gloo"'
        return Finding("NCCL", "fault", found, remedy)
    return Finding("NCCL", "fine", found)


OF_THE_LAUNCHER: tuple[Check, ...] = (_instructions, _memory, _shared_memory)
"""What `areal-mesh up` looks at besides what its own preflight does."""
CHECKS: tuple[Check, ...] = (_cores, *OF_THE_LAUNCHER, _disk, _packages, _torch_build, _gpus, _nccl)
