"""A mesh over several hosts: the controller's host, the learner's, and one for each generator."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from areal_mesh.cli.preparing import prepare
from areal_mesh.runtime.settings import RunSettings, load_settings
from tests.chaos.hosts import Host, HostedProcess, Network, last_lines, network
from tests.e2e.bare_environment import PROXIES

CONTROLLER_PORT = 7400
_END_SECONDS = 90.0
_CENTRAL = ("controller", "replay", "verifier")
# Vllm's and torch's threads would otherwise spin on cores that they share with every other host.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"} | PROXIES


@dataclass
class Cluster:
    """Hosts and the services on them. `overrides` are settings over those of `preset`."""

    preset: str
    directory: Path
    overrides: tuple[str, ...]
    network: Network
    central: Host
    services: dict[str, HostedProcess] = field(default_factory=dict)
    """By service id: the processes of now."""

    @property
    def controller(self) -> str:
        """Address of the controller, for everybody."""
        return f"{self.central.address}:{CONTROLLER_PORT}"

    @property
    def settings(self) -> RunSettings:
        """The run's settings."""
        return load_settings(self.preset, self.overrides)

    def serve(self, role: str, service_id: str, host: Host, port: int = 0) -> HostedProcess:
        """Starts a service on a host, or starts it again."""
        listen = f"{role}.listen={host.address}:{port}"
        words = [sys.executable, "-m", "areal_mesh.cli", "serve", role, "--config", self.preset]
        words += ["--service-id", service_id, "--controller", self.controller]
        for override in (*self.overrides, listen):
            words += ["--set", override]
        log = self.directory / f"{service_id}.log"
        self.services[service_id] = HostedProcess(host, words, log, ENVIRONMENT | {"HOME": str(self.directory)})
        return self.services[service_id]

    def add_generator(self, service_id: str) -> HostedProcess:
        """A generator on a host of its own: a new one, or the one on which it ran before."""
        earlier = self.services.get(service_id)
        return self.serve("generator", service_id, self.network.host() if earlier is None else earlier.host)

    def last_lines(self) -> str:
        """What each service said last, for a failure's message."""
        return last_lines(self.services)


@contextmanager
def cluster(preset: str, directory: Path, *overrides: str) -> Iterator[Cluster]:
    """A mesh of which the controller, replay, verifier and learner run; whatever runs at the end is killed."""
    with network() as hosts:
        central = hosts.host()
        address = f"{central.address}:{CONTROLLER_PORT}"
        settings = (*overrides, f"directory={directory}", f"controller.listen={address}")
        made = Cluster(preset, directory, (*settings, "plaintext_beyond_loopback=true"), hosts, central)
        prepare(preset, made.overrides)
        try:
            for role in _CENTRAL:
                port = CONTROLLER_PORT if role == "controller" else 0
                made.serve(role, role if role == "controller" else f"{role}-0", central, port)
            made.serve("learner", "learner-0", hosts.host())
            yield made
        finally:
            for service in made.services.values():
                service.send(signal.SIGCONT)
                if service.running:
                    service.kill()


def ends_of(made: Cluster) -> dict[str, int]:
    """Waits for every service to end by itself; exit codes by service id."""
    return {name: service.wait(_END_SECONDS) for name, service in made.services.items()}
