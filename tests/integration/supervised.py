"""Processes to supervise: a few lines of Python that end as a service might."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from areal_mesh.runtime.supervision import ServiceProcess

PATIENCE_SECONDS = 20.0
SERVE = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
)
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)
WITH_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'],"
    " process_group=0); print(child.pid, flush=True); import signal; signal.pause()"
)


def simulated_member(
    folder: Path, name: str, script: str, drain_phase: int = 0, drain_seconds: float = 10
) -> ServiceProcess:
    """A member that runs a few lines of Python in place of a service."""
    return ServiceProcess(name, (sys.executable, "-c", script), folder / f"{name}.log", drain_phase, drain_seconds)


async def until(holds: Callable[[], bool]) -> None:
    """Waits until `holds()`; fails after the patience."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 other processes and their logs raise no event here
            await asyncio.sleep(0.01)


def python(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], start_new_session=True)


def says(member: ServiceProcess, text: str) -> Callable[[], bool]:
    return lambda: member.log.exists() and text in member.log.read_text()


def alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
