"""Process environment that has to be set before `grpc` is imported, and allocator tuning.

Every process of ours imports this module first: fork support of gRPC crashes or hangs children of a process with
live channels, and glibc's defaults page-fault on every half-megabyte message (REFERENCE section 4).
"""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 256 << 20
_TOP_PAD_BYTES = 4 << 20


def prepare_process() -> None:
    """Sets the environment for gRPC and tunes the allocator. Call before `import grpc`."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    tune_allocator()


def tune_allocator() -> None:
    """Raises malloc's thresholds in this process: memory that was freed is used again instead of faulted in anew."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt: the defaults stay
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)
        mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def settle_memory() -> None:
    """Takes what is loaded by now out of the garbage collector's sight; call once a service has started.

    A full collection else goes through every object of every module each time, for a tenth of a second, in which
    nobody is answered.
    """
    gc.collect()
    gc.freeze()


def pin_to_cores(cores: list[int] | None) -> None:
    """Pins this process, and the threads it starts from now on, to `cores`; None leaves it where it is.

    The numbers are positions among the cores that the process may use, counted round: 0 and 1 are two cores of
    whatever a container or a job was given, and the same one where there is only one.
    """
    if cores is None or not hasattr(os, "sched_setaffinity"):
        return
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {available[core % len(available)] for core in cores})


def stand_back(niceness: int) -> None:
    """Lowers the priority of this thread, and of what it starts, to `niceness`; never raises it."""
    os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))


def split_cores(engine_cores: list[int] | None) -> tuple[set[int], set[int]]:
    """Cores of the engine, positions among those that this process may use as in `pin_to_cores`; and of the rest.

    All are both where nothing is said, or where the engine takes all.
    """
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(available_cores()))
    engine = {available[core % len(available)] for core in engine_cores} if engine_cores else set(available)
    return engine, set(available) - engine or set(available)


def pin_threads(cores: set[int]) -> None:
    """Pins every thread that this process has now."""
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), cores)


def show_gpus(gpus: list[int] | None) -> None:
    """Lets this process see `gpus` alone; None leaves all. Call before torch is imported."""
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in gpus)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
