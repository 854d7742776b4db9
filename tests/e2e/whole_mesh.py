"""A whole mesh as a user starts it: `areal-mesh up` in a process of its own, and what it leaves behind."""

import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.bare_environment import bare_environment, tools_without_compilers
from tests.processes import words_of

COMMAND = Path(sys.executable).with_name("areal-mesh")
ROLES = ("controller", "replay", "verifier", "generator", "learner")


def arguments_of(preset: str, directory: Path, *overrides: str) -> list[str]:
    """The command line of a run in `directory`."""
    command = [str(COMMAND), "up", preset]
    for override in (f"directory={directory}", *overrides):
        command += ["--set", override]
    return command


@contextmanager
def started(preset: str, directory: Path, *overrides: str) -> Iterator["subprocess.Popen[str]"]:
    """The launcher of a run in the barest environment; whatever is left of it at the end is killed."""
    tools = tempfile.TemporaryDirectory(prefix="tools without a compiler ")
    path = tools_without_compilers(Path(tools.name) / "bin")
    process = subprocess.Popen(
        arguments_of(preset, directory, *overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=bare_environment(path) | {"TORCHINDUCTOR_CACHE_DIR": tools.name},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        tools.cleanup()


def wait_for_step(process: "subprocess.Popen[str]", step: int) -> None:
    """Reads the launcher's lines up to that of `step` or a later one; AssertionError with all of them if none comes."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        found = re.match(r"step (\d+)", line)
        if found and int(found[1]) >= step:
            return
    raise AssertionError(f"step {step} was never printed:\n{''.join(lines)}")


def service_process(launcher: int, role: str) -> psutil.Process:
    """The live process of a role under the launcher."""
    for child in psutil.Process(launcher).children(recursive=True):
        if {"serve", role} <= set(words_of(child)):
            return child
    raise AssertionError(f"no {role} under launcher {launcher}")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def assert_sums_hold(summary: dict[str, Any]) -> None:
    """Every leased group has exactly one end, or is still open."""
    groups = summary["groups"]
    ends = groups["trained"] + groups["stale"] + groups["filtered"] + groups["failed"] + groups["open"]
    assert groups["leased"] == ends, groups
