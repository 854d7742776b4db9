"""The processes of a run on one machine: which, how they are started, and in which order they drain."""

import sys
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.supervision import ServiceProcess

CONTROLLER = "controller"
# In the order of their start; what makes work drains first, and what others report to last.
_DRAIN_PHASES = {CONTROLLER: 2, "replay": 1, "verifier": 1, "generator": 0, "learner": 0}
# Waiting threads would otherwise spin on cores that other services are pinned to.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"}


def controller_address(settings: RunSettings) -> str:
    """Where the controller is reached from this machine.

    Raises:
        CommandFailed: its port is left open, so that nobody would find it.
    """
    address = settings.controller.address
    if address.port == 0:
        raise CommandFailed(
            f"controller.listen = {settings.controller.listen}: the launcher needs a fixed port; name one with "
            "--set controller.listen=127.0.0.1:7400"
        )
    return str(address.seen_from_its_machine())


def service_id(role: str) -> str:
    """Name of a role's one service on this machine."""
    return role if role == CONTROLLER else f"{role}-0"


def service_processes(settings: RunSettings, folder: Path, run_id: str) -> list[ServiceProcess]:
    """The five services, in the order of their start.

    `folder`: the run directory, with the settings in it. `run_id`: keeps them apart from services of other runs.
    """
    address = controller_address(settings)
    members = []
    for role, phase in _DRAIN_PHASES.items():
        name = service_id(role)
        serve = ("serve", role, "--config", str(folder / SETTINGS_FILE), "--service-id", name)
        belongs = ("--controller", address, "--run-id", run_id)
        members.append(
            ServiceProcess(
                service_id=name,
                argv=(sys.executable, "-m", "areal_mesh.cli", *serve, *belongs),
                log=folder / "logs" / f"{name}.log",
                drain_phase=phase,
                drain_seconds=settings.service(role).drain_seconds,
                environment=_ENVIRONMENT,
            )
        )
    return members
