"""Starts the trackers of a run beside it, and ends them with it. Nothing that happens to one is raised."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.views.sinks.table import SINKS


class Followers:
    """The processes of a run's trackers.

    Args:
        identity: tells the run from others of its name, and is the same in every sitting.
        say: is given a line for each tracker that ended too early.
    """

    def __init__(
        self, sinks: Sequence[Any], folder: Path, identity: str, config: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._processes: dict[str, subprocess.Popen[str]] = {}
        for sink in sinks:
            if SINKS[sink.type] is not None:
                given = {"name": config["name"], "config": config, "sink": sink.model_dump(mode="json")}
                self._processes[sink.type] = _start(folder, sink.type, identity, given)

    def look(self) -> None:
        """Says which trackers have ended since the last look."""
        for kind, process in list(self._processes.items()):
            if process.poll() is not None:
                self._ended(kind)

    def close(self, seconds: float) -> None:
        """Has every tracker send what is left, within so many seconds."""
        ends = time.monotonic() + seconds
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for kind, process in list(self._processes.items()):
            try:
                process.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self._say(f"{kind}: did not send what was left within {seconds:g} s; the rest is in metrics.jsonl")
                del self._processes[kind]
                continue
            if process.returncode:
                self._ended(kind)
        self._processes.clear()

    def _ended(self, kind: str) -> None:
        code = self._processes.pop(kind).returncode
        self._say(f"{kind}: ended with exit code {code}, its last lines are above; the run goes on without it")


def _start(folder: Path, kind: str, identity: str, given: Mapping[str, Any]) -> "subprocess.Popen[str]":
    module = ("-m", "areal_mesh.views.sinks.follow")
    process = subprocess.Popen(
        [sys.executable, *module, str(folder), kind, identity],
        stdin=subprocess.PIPE,
        stdout=2,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(given) + "\n")
    process.stdin.flush()
    return process
