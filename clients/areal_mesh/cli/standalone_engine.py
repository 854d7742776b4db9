"""A generator's engine without a run, in a process of its own: what it says, line by line, within deadlines."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.runtime.orphans import OrphanGuard, kill_session
from areal_mesh.runtime.restarts import describe_exit

_SILENCE_SECONDS = 900.0
"""Between two lines: loading the largest models takes minutes, and afterwards a line comes every few seconds, for an
engine that makes no token gives up by itself."""
_LEAVE_SECONDS = 30.0
_CHUNK = 1 << 16


def events(plan: Path, log: Path) -> Iterator[dict[str, Any]]:
    """What `areal_mesh.generator.standalone` says of a plan, as it comes; ends with it, however this process ends.

    Args:
        log: its standard error.

    Raises:
        CommandFailed: it failed, or was silent for too long; with the last line of its log.
    """
    with _process(plan, log) as process:
        assert process.stdout is not None
        yield from _lines(process.stdout.fileno(), log)
        try:
            exit_code = process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"the engine does not end; its log is {log}") from error
    if exit_code != 0:
        raise CommandFailed(f"the engine failed ({describe_exit(exit_code)}): {_last_line(log)}; its log is {log}")


@contextmanager
def _process(plan: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "areal_mesh.generator.standalone", str(plan)]
    with log.open("ab") as errors, OrphanGuard() as guard:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        guard.watch(process.pid)
        try:
            yield process
        finally:
            if process.poll() is None:
                kill_session(process.pid)
                process.wait()
            guard.release(process.pid)


def _lines(descriptor: int, log: Path) -> Iterator[dict[str, Any]]:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        rest = b""
        heard = time.monotonic()
        while True:
            if not selector.select(timeout=1.0):
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    raise CommandFailed(f"the engine said nothing for {_SILENCE_SECONDS:g} s; its log is {log}")
                continue
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                return
            heard = time.monotonic()
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in whole)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
