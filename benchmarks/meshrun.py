"""Runs a preset through the whole mesh in a directory of its own, and reads what the run left behind."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console


@dataclass(frozen=True)
class MeshRun:
    """A finished run: `summary.json`, and the lines of `metrics.jsonl`."""

    directory: Path
    summary: dict[str, Any]
    steps: list[dict[str, Any]]

    def tokens_trained_per_second(self, skip: int) -> float:
        """Response tokens trained a second of wall clock, from the commit of step `skip` to that of the last."""
        trained = sum(step["tokens_trained"] for step in self.steps[skip:])
        return float(trained / (self.steps[-1]["committed_at"] - self.steps[skip - 1]["committed_at"]))


def run_mesh(
    preset: str, directory: Path, name: str, overrides: Iterable[str] = (), deadline_seconds: float = 1800.0
) -> MeshRun:
    """Runs `areal-mesh up` to its end; a run that fails raises RuntimeError with its last lines."""
    command = [str(Path(sys.executable).with_name("areal-mesh")), "up", preset]
    listen = f"controller.listen=127.0.0.1:{free_port()}"
    for override in (f"name={name}", f"directory={directory}", listen, *overrides):
        command += ["--set", override]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=deadline_seconds,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return read_run(directory / name)


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_run(directory: Path) -> MeshRun:
    """Reads a finished run's directory."""
    summary = json.loads((directory / "summary.json").read_text())
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return MeshRun(directory, summary, [json.loads(line) for line in lines])


def write_result(name: str, console: Console) -> None:
    """Writes what `console` recorded to benchmarks/results/<name>.txt."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(console.export_text(clear=False))
