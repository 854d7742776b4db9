"""The real verifier service in a process of its own, on port 0 and without a controller, for tests that hurt it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "unit" / "grading_cases"
_PROGRAM = """
import asyncio, json, sys
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.verifier.service import build

async def serve():
    settings = RunSettings.model_validate(json.loads(sys.argv[1]))
    service = build(ServiceContext(settings, Identity("verifier", "verifier-0"), "127.0.0.1:1"))
    server = MeshServer("127.0.0.1:0")
    service.attach(server)
    await service.start()
    print(json.dumps([await server.start(), list(service._pool.worker_processes)]), flush=True)
    await service.run(asyncio.Event())

asyncio.run(serve())
"""


@dataclass(frozen=True)
class VerifierProcess:
    """A service that answers at `address`."""

    process: "subprocess.Popen[str]"
    address: str
    workers: tuple[int, ...]
    """Process ids of the grading workers that it started with."""


@contextmanager
def verifier_process(folder: Path, **verifier: Any) -> Iterator[VerifierProcess]:
    """Starts the service with settings of its section; kills it at the end, unless it has ended before."""
    settings = {
        "name": "test",
        "stages": [{"name": "8", "max_response_tokens": 32, "max_steps": 1}],
        "model": {"folder": str(folder)},
        "prompts": {"file": str(folder / "prompts.jsonl")},
        "verifier": verifier,
    }
    command = [sys.executable, "-c", _PROGRAM, json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the verifier ended with {process.wait(10)} before it served"
            port, workers = json.loads(line)
            yield VerifierProcess(process, f"127.0.0.1:{port}", tuple(workers))
        finally:
            process.kill()


def labelled_answers() -> list[tuple[str, str, bool]]:
    """(response, reference, correct) of the labelled regression set."""
    lines = [line for path in sorted(CASES.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(rf"so $\boxed{{{case['answer']}}}$", case["gold"], case["correct"]) for case in map(json.loads, lines)]
