"""Hosts on one machine: network namespaces on a bridge, each with an address and a link that can be cut."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_IP_SECONDS = 20


def why_no_hosts() -> str | None:
    """What keeps this machine from making hosts; None where it can."""
    if shutil.which("ip") is None:
        return "network namespaces need iproute2: apt-get install iproute2"
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = f"probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, timeout=_IP_SECONDS)
    if made.returncode:
        return f"ip netns add: {made.stderr.strip()}"
    _ip("netns", "delete", probe)
    return None


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=_IP_SECONDS)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Host:
    """A network namespace with an address of each kind, or an IPv6 address alone."""

    name: str
    address: str
    """IPv4; of a host with IPv6 alone, that."""
    address6: str
    link: str
    """The bridge's end of its cable."""
    ipv6_only: bool = False

    def command(self, words: Sequence[str]) -> list[str]:
        """The words of a command that runs on this host."""
        return ["ip", "netns", "exec", self.name, *words]

    def cut(self) -> None:
        """Takes the host off the network; processes on it go on."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """Puts it back."""
        _ip("link", "set", self.link, "up")


class Network:
    """A bridge, which this process's own namespace is on too, and the hosts round it."""

    def __init__(self) -> None:
        self._tag = f"{os.getpid() % 100_000:05d}"
        self._subnet = f"10.77.{os.getpid() % 250}"
        self._prefix = f"fd77:{os.getpid() % 65_536:x}::"
        self._bridge = f"br{self._tag}"
        self._hosts: list[Host] = []

    def host(self, ipv6_only: bool = False) -> Host:
        """One more host, up and reachable."""
        number = len(self._hosts) + 1
        address6 = f"{self._prefix}{number:x}"
        address = address6 if ipv6_only else f"{self._subnet}.{number}"
        host = Host(f"am{self._tag}n{number}", address, address6, f"v{self._tag}n{number}", ipv6_only)
        self._hosts.append(host)
        _ip("netns", "add", host.name)
        _ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.name)
        _ip("link", "set", host.link, "master", self._bridge, "up")
        if not ipv6_only:
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
        # Without the search for others of the same address, which takes a second in which it is not to be used.
        _ip("-n", host.name, "address", "add", f"{host.address6}/64", "dev", "eth0", "nodad")
        _ip("-n", host.name, "link", "set", "eth0", "up")
        _ip("-n", host.name, "link", "set", "lo", "up")
        return host

    def _open(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self._subnet}.254/24", "dev", self._bridge)
        _ip("address", "add", f"{self._prefix}fe/64", "dev", self._bridge, "nodad")
        _ip("link", "set", self._bridge, "up")
        self._forward("--insert")

    def _forward(self, change: str) -> None:
        """Where a container engine runs, the machine filters bridges too, and drops what nobody asked for."""
        if shutil.which("iptables"):
            rule = ["iptables", "--wait", change, "FORWARD", "--in-interface", self._bridge, "--jump", "ACCEPT"]
            subprocess.run(rule, check=True, capture_output=True, timeout=_IP_SECONDS)

    def _close(self) -> None:
        self._forward("--delete")
        for host in self._hosts:
            with suppress(RuntimeError):
                _ip("netns", "delete", host.name)
        with suppress(RuntimeError):
            _ip("link", "delete", self._bridge)


@contextmanager
def network() -> Iterator[Network]:
    """A network of hosts; every namespace and link of it is gone at the end."""
    made = Network()
    made._open()
    try:
        yield made
    finally:
        made._close()


class HostedProcess:
    """A process on a host, a session of its own, its output in a file."""

    def __init__(self, host: Host, words: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.host = host
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                host.command(words), stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment
            )

    @property
    def memory_bytes(self) -> int:
        """What it holds in memory."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Kills it and all that it started, as a host that loses its power does."""
        self.send(signal.SIGKILL)
        self._process.wait(timeout=_IP_SECONDS)

    def wait(self, seconds: float) -> int:
        """Waits for its end; the exit code."""
        return self._process.wait(timeout=seconds)


def last_lines(services: Mapping[str, HostedProcess], lines: int = 8) -> str:
    """What each said last, by name, for a failure's message."""
    said: list[str] = []
    for name, service in services.items():
        said.append(f"{name} ({'runs' if service.running else 'ended'}):")
        said += [f"    {line}" for line in service.log.read_text(errors="replace").splitlines()[-lines:]]
    return "\n".join(said)
