"""A real controller in a process of its own on one core."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def write_settings(folder: Path, port: int, core: int, batch_groups: int, max_staleness: int) -> Path:
    """A run's settings and prompts in `folder`; returns the settings' file."""
    prompts = folder / "prompts.jsonl"
    with prompts.open("w") as file:
        for number in range(10_000):
            problem = {"id": f"p{number}", "problem": f"What is {number} + 1? " * 10, "answer": str(number + 1)}
            file.write(json.dumps(problem) + "\n")
    settings = folder / "run.toml"
    settings.write_text(
        f"""
name = "control-plane"
directory = "{folder}"
[model]
folder = "{folder}"
[prompts]
file = "{prompts}"
[[stages]]
name = "8K"
max_response_tokens = 8192
max_steps = 1000000
rules = [{{ type = "truncated_above", share = 0.9, window = 5 }}]
[algorithm]
batch_groups = {batch_groups}
responses = 16
max_staleness = {max_staleness}
[controller]
listen = "127.0.0.1:{port}"
cores = [{core}]
"""
    )
    return settings


@contextlib.contextmanager
def controller_process(settings: Path, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """The controller as `areal-mesh serve` runs it, on one core; killed when left."""
    command = [str(Path(sys.executable).with_name("areal-mesh")), "serve", "controller", "--config", str(settings)]
    before = os.sched_getaffinity(0)
    with (settings.parent / "controller.out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        os.sched_setaffinity(0, before)
        process.send_signal(signal.SIGKILL)
        process.wait()
