"""`areal-mesh doctor --join`: whether this node fits the run behind a controller. Findings, each with its remedy."""

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from areal_mesh.cli.findings import Finding
from areal_mesh.cli.preflight import check_reachable
from areal_mesh.cli.targets import Target
from areal_mesh.client import ControllerFacts, MeshClientError
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.identity import version
from areal_mesh.runtime.settings import RunSettings, ServiceSettings

MOST_CLOCK_SECONDS = 1.0
_REACH_SECONDS = 5.0
# What each node may have for itself, without being of another run.
_OWN = (
    "directory",
    "listen",
    "advertise",
    "cores",
    "engine_cores",
    "gpus",
    "metrics_port",
    "metrics_host",
    "interface",
)


_OF_GPUS = ("packages", "torch's build", "GPUs", "NCCL", "CPU instructions", "shared memory")
"""Findings that concern generator and learner alone."""


@dataclass(frozen=True)
class Joining:
    """What was found out about the run; `unix_seconds` is this node's clock when the controller said its own."""

    controller: str
    unreachable: str = ""
    run_settings: Mapping[str, Any] = field(default_factory=dict)
    facts: ControllerFacts = field(default_factory=lambda: ControllerFacts(None, ""))
    unix_seconds: float = 0.0


def joining_findings(joining: Joining, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """What of this node does not fit the run. Pure.

    Args:
        settings: resolved here, as the run's own are given.
    """
    name = f"controller at {joining.controller}"
    if joining.unreachable:
        remedy = "start it, open its port to this node, or correct --join and the certificates"
        yield Finding(name, "fault", joining.unreachable, remedy)
        return
    yield Finding(name, "fine", f"answers, run {joining.run_settings.get('name', '?')}")
    differing = sorted(different(joining.run_settings, settings))
    if differing:
        shown = ", ".join(differing[:5]) + (", ..." if len(differing) > 5 else "")
        remedy = "give every node the run's settings: `areal-mesh config show --controller ADDR > run.json`"
        yield Finding("settings", "fault", f"differ from the run's: {shown}", remedy)
    else:
        yield Finding("settings", "fine", "the run's")
    yield from _release(joining.facts.version)
    yield from _clock(joining)


def of_role(found: Iterator[Finding], role: str) -> Iterator[Finding]:
    """Those findings that concern a node which runs one role; all of them where it is not said."""
    light = role not in ("", "generator", "learner")
    return (finding for finding in found if not (light and finding.name in _OF_GPUS))


def for_role(settings: RunSettings, role: str) -> RunSettings:
    """The settings as a node reads them that runs one role: what the others want of GPUs is not its affair."""
    others = [name for name in ("generator", "learner") if role and name != role]
    on_cpu = {name: getattr(settings, name).model_copy(update={"device": "cpu"}) for name in others}
    return settings.model_copy(update=on_cpu)


def ask_run(target: Target) -> Joining:
    """Asks the controller for its run, release and clock."""
    try:
        return asyncio.run(_ask(target))
    except MeshClientError as error:
        return Joining(target.address, unreachable=str(error))


async def _ask(target: Target) -> Joining:
    async with target.mesh() as mesh:
        config = await mesh.config()
        # The second call's connection is there already: its answer takes no longer than its way.
        facts = await mesh.about()
        return Joining(target.address, "", config, facts, time.time())


def address_findings(role: str, section: ServiceSettings) -> Iterator[Finding]:
    """Whether this node reaches itself where the others are told to: a name that leads elsewhere shows here."""
    name = f"{role}.advertise"
    try:
        check_reachable(role, section)
        reached = Address(section.reached_host, 0)
        if reached.is_loopback:
            remedy = f"name this node as the others know it: --set {role}.advertise=HOST"
            yield Finding(name, "fault", f"{reached.host}: no other machine reaches it there", remedy)
            return
        _reach(Address(section.address.host, 0), reached.host)
    except (StartupError, OSError) as error:
        remedy = f"name this node as the others know it: --set {role}.advertise=HOST"
        yield Finding(name, "fault", f"{section.reached_host}: {error}", remedy)
        return
    yield Finding(name, "fine", f"{section.reached_host} leads here")


def _reach(listen: Address, host: str) -> None:
    """Connects by `host` to a socket that listens here. Raises OSError."""
    family, _, _, _, target = socket.getaddrinfo(listen.host, 0, type=socket.SOCK_STREAM)[0]
    with socket.create_server(target[:2], family=family) as listening:
        socket.create_connection((host, listening.getsockname()[1]), timeout=_REACH_SECONDS).close()


def _release(theirs: str) -> Iterator[Finding]:
    if not theirs:
        return
    mine = version()
    if mine == theirs:
        yield Finding("release", "fine", mine)
    else:
        remedy = "adjacent releases talk; put the same on every node"
        yield Finding("release", "remark", f"{mine} here, {theirs} at the controller", remedy)


def different(theirs: Any, mine: Any, key: str = "") -> Iterator[str]:
    """Keys under which two settings differ, but for those that each node may have for itself."""
    if isinstance(theirs, Mapping) and isinstance(mine, Mapping):
        for name in theirs.keys() | mine.keys():
            if name not in _OWN:
                yield from different(theirs.get(name), mine.get(name), f"{key}.{name}" if key else name)
    elif theirs != mine:
        yield key


def _clock(joining: Joining) -> Iterator[Finding]:
    if joining.facts.unix_seconds is None:
        return
    off = joining.unix_seconds - joining.facts.unix_seconds
    found = f"{off:+.2f} s against the controller's"
    if abs(off) <= MOST_CLOCK_SECONDS:
        yield Finding("clock", "fine", found)
    else:
        yield Finding("clock", "fault", found, "set both by NTP: certificates and log times depend on it")
