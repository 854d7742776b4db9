"""`areal-mesh status --why`: what each service waits for and on whom, and where the chain ends. Pure: values in.

A service waits for the oldest call of its own that nobody has answered, which it tells in its heartbeats; a replay
buffer that holds less than a batch waits for generators, which sends no call.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from areal_mesh.client import RunState, RunStatus, ServiceState, ServiceStatus
from areal_mesh.runtime.metrics.members import OPEN_CALL_PREFIX
from areal_mesh.runtime.roles import SERVICE_ROLES

_GONE = (ServiceState.LOST, ServiceState.STOPPED)
_HELD = {
    RunState.PAUSED: "the run is paused: nothing starts until `areal-mesh resume`",
    RunState.STOPPING: "the run is stopping: what is in flight ends, and nothing new starts",
    RunState.FINISHED: "the run is finished",
}


@dataclass(frozen=True)
class Wait:
    """What a service waits for: `on` is a role, `seconds` how long already."""

    what: str
    on: str
    seconds: float


def why(status: RunStatus, batch_groups: int) -> Iterator[str]:
    """Lines for a person: what holds the run as a whole, each service, and who it is that the others wait for."""
    if status.state in _HELD:
        yield _HELD[status.state]
    for fault in status.faults:
        yield f"fault of {fault.service_id}, for {fault.since_seconds:.0f} s: {fault.text}"
    present = {service.role for service in status.services if service.state not in _GONE}
    missing = [role for role in SERVICE_ROLES if role != "controller" and role not in present]
    for role in missing:
        yield f"no {role} is a member"
    for service in status.services:
        yield _line(service, wait_of(service, status, batch_groups))
    if status.state in (RunState.RUNNING, RunState.STARTING):
        ends = [*missing, *chain_ends(status, batch_groups)]
        yield "the others wait for: " + (", ".join(ends) if ends else "nobody in particular")


def wait_of(service: ServiceStatus, status: RunStatus, batch_groups: int) -> Wait | None:
    """What a member waits for; None where it waits for nobody."""
    if service.state is ServiceState.PENDING_WEIGHTS:
        # The learner sends them, to whoever the controller says.
        return Wait(service.waits_for or "weights", "learner", service.seconds_since_progress)
    metrics = service.metrics.items()
    calls = {name.removeprefix(OPEN_CALL_PREFIX): age for name, age in metrics if name.startswith(OPEN_CALL_PREFIX)}
    if calls:
        method = max(calls, key=lambda name: calls[name])
        called, _, name = method.partition("/")
        return Wait(name, called.removesuffix("Service").lower(), calls[method])
    if service.role == "replay" and status.replay.waiting_groups < batch_groups:
        groups = f"groups: {status.replay.waiting_groups} of a batch's {batch_groups} are stored"
        return Wait(groups, "generator", service.seconds_since_progress)
    return None


def chain_ends(status: RunStatus, batch_groups: int) -> list[str]:
    """Members of whom somebody waits for something and who wait for nobody else, the most silent first."""
    waits = {service.service_id: wait_of(service, status, batch_groups) for service in status.services}
    waited_for = {wait.on for wait in waits.values() if wait is not None}
    ends = [
        service
        for service in status.services
        if service.role in waited_for and (waits[service.service_id] is None or service.state in _GONE)
    ]
    ends.sort(key=lambda service: -service.seconds_since_progress)
    return [f"{end.service_id} ({end.state}, no progress for {end.seconds_since_progress:.1f} s)" for end in ends]


def _line(service: ServiceStatus, wait: Wait | None) -> str:
    state = service.state.replace("_", " ")
    head = f"{service.service_id} ({state}): no progress for {service.seconds_since_progress:.1f} s"
    if service.state is ServiceState.LOST:
        return f"{service.service_id} is lost: not heard for {service.seconds_since_heartbeat:.1f} s"
    if wait is None:
        return f"{head}; waits for nobody"
    return f"{head}; waits for the {wait.on} for {wait.seconds:.1f} s: {wait.what}"
