"""A clean checkout as a compose project: built, brought up to its end, and hit in the middle."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVICES = ("controller", "generator", "verifier", "replay", "learner")
NAME = "areal-mesh-test"
_KILLED = 128 + 9
# The container's own process is its init; what it started is the service.
_KILL = """
import glob, os, signal
for path in glob.glob("/proc/[0-9]*/stat"):
    parent = open(path).read().rpartition(")")[2].split()[1]
    if parent == "1":
        os.kill(int(path.split("/")[2]), signal.SIGKILL)
"""


def engine_missing() -> str:
    """What has to be installed or started before containers can run; empty if nothing."""
    for command, what in (
        (["docker", "info"], "a Docker Engine that answers (`docker info`)"),
        (["docker", "compose", "version"], "docker's compose plugin"),
    ):
        try:
            subprocess.run(command, capture_output=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            return f"needs {what}; install docker.io or docker-ce with docker-compose-plugin, and start it"
    return ""


@dataclass
class Project:
    """One project in a folder of its own. `overrides`: settings on top of the preset, given to every service."""

    folder: Path
    overrides: Sequence[str] = ()
    started: float = field(default=0.0)

    def compose(self, *arguments: str, seconds: float = 120.0, codes: Sequence[int] = (0,)) -> str:
        """Runs a compose command to its end; what it said. Fails with that where its exit code is none of `codes`."""
        done = subprocess.run(
            self._command(*arguments), cwd=self.folder, capture_output=True, text=True, timeout=seconds, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode in codes, f"{arguments}: exit code {done.returncode}\n{said[-6000:]}"
        return said

    def begin(self) -> "subprocess.Popen[bytes]":
        """`docker compose up`, under way; its output goes to `up.log`."""
        self.started = time.monotonic()
        with (self.folder / "up.log").open("wb") as log:
            return subprocess.Popen(
                self._command("--ansi", "never", "up"), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        """What the last `up` has said."""
        return (self.folder / "up.log").read_text(errors="replace")

    def run(self, name: str) -> Path:
        """The directory of a run, in the volume; this process has to be root to read it."""
        return volume(f"{NAME}_runs") / name

    def status(self) -> dict[str, Any]:
        """What `docker compose run --rm status` says, as the object that it is for programs."""
        words = self._command("run", "--rm", "status", "status", "--json")
        said = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=60, check=True).stdout
        found: dict[str, Any] = json.loads(said)
        return found

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers."""
        return self.compose("ps", "--quiet", service).split()

    def steps(self, run: str) -> int:
        """Steps that a run has written down."""
        metrics = self.run(run) / "metrics.jsonl"
        return len(metrics.read_bytes().splitlines()) if metrics.exists() else 0

    def up_to(self, run: str, step: int) -> bool:
        """Whether a run, in a volume that may not be there yet, has come so far."""
        return f"{NAME}_runs" in docker("volume", "ls", "--quiet").split() and self.steps(run) >= step

    def kill(self, service: str) -> None:
        """kill -9 of a container's process."""
        # The container ends with it, sometimes before the command in it has.
        self.compose("exec", "-T", service, "python", "-c", _KILL, codes=(0, _KILLED))

    def states(self) -> Mapping[str, str]:
        """State of each container of the mesh."""
        lines = self.compose("ps", "--all", "--format", "json", *SERVICES).splitlines()
        return {found["Name"]: found["State"] for found in (json.loads(line) for line in lines if line[:1] == "{")}

    def exit_codes(self) -> Mapping[str, int]:
        """Exit code of each service's container; fails if one still runs."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        containers = [json.loads(line) for line in lines if line.startswith("{")]
        assert {container["State"] for container in containers} == {"exited"}, containers
        return {container["Service"]: int(container["ExitCode"]) for container in containers}

    def _command(self, *arguments: str) -> list[str]:
        files = ["--file", "docker-compose.yml"]
        if self.overrides:
            override = self.folder / "overrides.json"
            given = [word for value in self.overrides for word in ("--set", value)]
            own = {"generator": ["--service-id", "generator-{host}"]}
            commands = {
                name: ["serve", name, "--config", "trial-compose", *own.get(name, []), *given] for name in SERVICES
            }
            override.write_text(
                json.dumps({"services": {name: {"command": words} for name, words in commands.items()}})
            )
            files += ["--file", override.name]
        return ["docker", "compose", "--project-name", NAME, *files, *arguments]


def volume(name: str) -> Path:
    """Where the engine keeps a volume."""
    words = ["docker", "volume", "inspect", name, "--format", "{{.Mountpoint}}"]
    return Path(subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip())


def docker(*words: str) -> str:
    """Runs a command of the engine; what it prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"docker {words}: {done.stderr}"
    return done.stdout.strip()


def build_arguments() -> list[str]:
    """Bases of the image as the environment names them, for a machine that reaches no image registry."""
    named = {"BASE": os.environ.get("AREAL_MESH_BASE"), "BUILD_BASE": os.environ.get("AREAL_MESH_BUILD_BASE")}
    return [word for name, value in named.items() if value for word in ("--build-arg", f"{name}={value}")]
