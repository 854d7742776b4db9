"""A mesh over four hosts in mutual TLS: each host has the certificates of its own services and no others.

One host holds controller and replay buffer, one the learner, one the verifier and a generator, and one, which has an
IPv6 address alone, another generator. What the hosts have in common is reached by IPv6.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from areal_mesh.cli.preparing import prepare
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.security.authority import Authority, issue, make_authority
from areal_mesh.runtime.security.credentials import AUTHORITIES_FILE
from areal_mesh.runtime.security.subject import Subject
from areal_mesh.runtime.settings import RunSettings, load_settings
from tests.chaos.cluster import CONTROLLER_PORT, ENVIRONMENT
from tests.chaos.hosts import Host, HostedProcess, last_lines, network
from tests.integration.tls_mesh import certificate_folder, write_tokens

TRIAL = "trial"
_DAYS = 1.0


@dataclass
class TlsCluster:
    """Hosts, the services on them, and whoever comes from beside: `visitor`, with a certificate of every role."""

    directory: Path
    source: str
    """A preset, whose services are those of the command; or a file of settings, whose engines only copy."""
    overrides: tuple[str, ...]
    authority: Authority
    tokens: dict[str, str]
    services: dict[str, HostedProcess] = field(default_factory=dict)
    places: dict[str, tuple[str, Host]] = field(default_factory=dict)
    """Role and host by service id."""

    @property
    def controller(self) -> str:
        """Its address, for everybody."""
        return str(Address(self.places["controller"][1].address6, CONTROLLER_PORT))

    @property
    def visitor(self) -> Path:
        """The visitor's certificates."""
        return self.directory / "visitor"

    @property
    def settings(self) -> RunSettings:
        """The run's settings, with the visitor's certificates."""
        return load_settings(self.source, (*self.overrides, f"security.certificates={self.visitor}"))

    def folder_of(self, service_id: str) -> Path:
        """The certificates of the host that a service is on."""
        return self.directory / self.places[service_id][1].name

    def certify(self, authority: Authority, service_id: str) -> None:
        """Issues a service's certificate, in place of the one that it has."""
        role, host = self.places[service_id]
        path = self.folder_of(service_id) / f"{service_id}.pem"
        aside = path.with_suffix(".aside")
        hosts = {host.address, host.address6}
        aside.write_bytes(issue(authority, Subject(role, service_id), sorted(hosts), _DAYS))
        aside.replace(path)

    def trust(self, *authorities: Authority) -> None:
        """Says on every host, and to the visitor, which authorities are trusted."""
        bundle = b"".join(authority.pem for authority in authorities)
        for folder in {self.visitor, *map(self.folder_of, self.places)}:
            aside = folder / "ca.aside"
            aside.write_bytes(bundle)
            aside.replace(folder / AUTHORITIES_FILE)

    def rotate(self) -> None:
        """Another authority and other certificates everywhere, the old ones worthless, while the services run."""
        following = make_authority(_DAYS)
        self.trust(following, self.authority)
        for service_id in self.places:
            self.certify(following, service_id)
        certificate_folder(self.visitor, authority=following)
        self.trust(following, self.authority)
        self.authority = following

    def forget_old_authorities(self) -> None:
        """Only the newest authority is trusted from now on."""
        self.trust(self.authority)

    def serve(self, service_id: str) -> None:
        """Starts a service on its host."""
        role, host = self.places[service_id]
        port = CONTROLLER_PORT if role == "controller" else 0
        program = ["areal_mesh.cli", "serve"] if self.source == TRIAL else ["tests.chaos.hosted_service"]
        words = [sys.executable, "-m", *program, role, "--config", self.source]
        words += ["--service-id", service_id, "--controller", self.controller]
        # A generator with both kinds is reached by IPv4, everything else by IPv6.
        listen = Address(host.address if role == "generator" else host.address6, port)
        own = (f"{role}.listen={listen}", f"security.certificates={self.folder_of(service_id)}")
        for override in (*self.overrides, *own):
            words += ["--set", override]
        log = self.directory / f"{service_id}.log"
        self.services[service_id] = HostedProcess(host, words, log, ENVIRONMENT | {"HOME": str(self.directory)})

    def last_lines(self) -> str:
        """What each service said last, for a failure's message."""
        return last_lines(self.services)


@contextmanager
def tls_cluster(directory: Path, source: str, *overrides: str) -> Iterator[TlsCluster]:
    """A mesh whose services have been started; whatever runs at the end is killed. `source` as of `TlsCluster`."""
    with network() as hosts:
        central, learner, both, version6 = hosts.host(), hosts.host(), hosts.host(), hosts.host(ipv6_only=True)
        places = {
            "controller": ("controller", central),
            "replay-0": ("replay", central),
            "verifier-0": ("verifier", both),
            "generator-0": ("generator", both),
            "generator-1": ("generator", version6),
            "learner-0": ("learner", learner),
        }
        authority = make_authority(_DAYS)
        controller = Address(central.address6, CONTROLLER_PORT)
        settings = (*overrides, f"directory={directory}", f"controller.listen={controller}")
        made = TlsCluster(directory, source, settings, authority, {}, places=places)
        certificate_folder(made.visitor, authority=authority)
        made.tokens = write_tokens(made.visitor, anna="operator", bob="read-only")
        for service_id in places:
            made.folder_of(service_id).mkdir(exist_ok=True)
            made.certify(authority, service_id)
            (made.folder_of(service_id) / "tokens.json").write_bytes((made.visitor / "tokens.json").read_bytes())
        made.trust(authority)
        if source == TRIAL:
            prepare(source, (*made.overrides, f"security.certificates={made.visitor}"))
        try:
            for service_id in places:
                made.serve(service_id)
            yield made
        finally:
            for service in made.services.values():
                service.send(signal.SIGCONT)
                if service.running:
                    service.kill()
