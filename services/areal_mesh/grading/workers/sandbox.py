"""What a worker gives up before it looks at a model's answer: memory, files, processes, the network.

Resource limits hold everywhere. On Linux `no_new_privs` and a seccomp filter follow, set through libc; on other
machines, or where the kernel refuses, a worker runs with the limits alone and says so.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from dataclasses import dataclass
from typing import Final

from areal_mesh.grading.workers.system_calls import DENIED, NEWER, OPEN_CALLS

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_RETURN_ALLOW: Final = 0x7FFF0000
_RETURN_EPERM: Final = 0x00050000 | 1
_RETURN_ENOSYS: Final = 0x00050000 | 38
_RETURN_KILL: Final = 0x80000000
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Bounds on one worker process."""

    memory_bytes: int = 250 << 20
    """Address space, so that the resident memory is below it too."""
    cpu_seconds: int = 120
    """Over the worker's life; a single answer is cut off by the pool's deadline long before."""


def apply(limits: SandboxLimits) -> bool:
    """Give up what grading does not need, for good. Returns whether the system-call filter is in force.

    Raises:
        OSError: if a resource limit cannot be set.
    """
    for name, value in (
        ("RLIMIT_AS", limits.memory_bytes),
        ("RLIMIT_CPU", limits.cpu_seconds),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_NOFILE", 32),
    ):
        _lower(getattr(resource, name), value)
    return sys.platform == "linux" and _filter_system_calls()


def die_with_parent() -> None:
    """Ask for SIGKILL when the parent ends. Linux only; elsewhere a closed connection ends the process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _filter_system_calls() -> bool:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    instructions = _filter(machine)
    program = _Program(len(instructions) // 8, instructions)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: str) -> bytes:
    """The filter as classic BPF.

    Denied calls fail with EPERM, unknown ones with ENOSYS, and a foreign architecture ends the process.
    """
    code = [
        _instruction(_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
        _instruction(_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        _instruction(_RETURN, 0, 0, _RETURN_KILL),
        _instruction(_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    if machine == "x86_64":
        # The x32 table has the same calls under other numbers.
        code += [_instruction(_AT_LEAST, 0, 1, 0x40000000), _instruction(_RETURN, 0, 0, _RETURN_EPERM)]
    code += [_instruction(_AT_LEAST, 0, 1, NEWER), _instruction(_RETURN, 0, 0, _RETURN_ENOSYS)]
    for number in DENIED[machine]:
        code += [_instruction(_EQUAL, 0, 1, number), _instruction(_RETURN, 0, 0, _RETURN_EPERM)]
    for number, argument in OPEN_CALLS[machine]:
        code += [
            _instruction(_EQUAL, 0, 4, number),
            _instruction(_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * argument),
            _instruction(_ANY_BIT, 0, 1, _WRITE_FLAGS),
            _instruction(_RETURN, 0, 0, _RETURN_EPERM),
            _instruction(_RETURN, 0, 0, _RETURN_ALLOW),
        ]
    code.append(_instruction(_RETURN, 0, 0, _RETURN_ALLOW))
    return b"".join(code)


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
