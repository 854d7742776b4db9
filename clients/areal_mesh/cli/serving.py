"""`areal-mesh serve`: checks, process set-up, then the role's service. The one place that knows every service."""

import importlib
import os
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from typing import cast

from areal_mesh.cli.end_run import exit_code_of
from areal_mesh.cli.preflight import check_role
from areal_mesh.cli.service_credentials import service_credentials
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.environment import pin_to_cores, show_gpus, stand_back
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.service import Service, ServiceContext, ServiceEnd, run_service
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings
from areal_mesh.runtime.settings.services import OWN_HOST
from areal_mesh.runtime.telemetry import configure_logging, note_phase


def serve_role(
    role: str, source: str, overrides: Sequence[str], service_id: str, controller: str, run_id: str = ""
) -> int:
    """Runs one service and ends the process with its exit code; the last line on standard error is the cause.

    Returns the exit code only of a service that never came to run.
    """
    service_id = (service_id or f"{role}-0").replace(OWN_HOST, socket.gethostname())
    try:
        context = context_of(role, source, overrides, service_id, controller, run_id)
    except StartupError as error:
        print(f"areal-mesh {service_id}: cannot start: {error}", file=sys.stderr, flush=True)
        end = ServiceEnd(EXIT_CANNOT_START, f"cannot start: {error}")
        return exit_code_of(role, service_id, end, _settings_of(source, overrides), controller)
    end = run_service(lambda: context, builder_of(role))
    if role == "controller" and end.exit_code == 0:
        from areal_mesh.cli.report import print_end

        print_end(context.run_directory)
    exit_code = exit_code_of(role, service_id, end, context.settings, context.controller)
    # The cause is to have the last word: finalisers of libraries (vLLM's client) complain when the interpreter ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _settings_of(source: str, overrides: Sequence[str]) -> RunSettings | None:
    """The settings; None where they do not hold."""
    try:
        return load_settings(source, overrides)
    except SettingsError:
        return None


def context_of(
    role: str, source: str, overrides: Sequence[str], service_id: str, controller: str, run_id: str = ""
) -> ServiceContext:
    """Settings, checks, pinning and logs of a service process; imports nothing heavy.

    Raises:
        StartupError: the service cannot start; on one line.
    """
    try:
        settings = load_settings(source, overrides)
    except SettingsError as error:
        raise StartupError(f"{source}: {'; '.join(error.faults)}") from error
    given = shlex.join([source, *(word for override in overrides for word in ("--set", override))])
    check_role(settings, role, given)
    pin_service(settings, role)
    configure_logging(service_id, settings.run_directory / "logs", run=settings.name, role=role)
    note_phase("importing")
    identity = Identity(role, service_id, credentials=service_credentials(settings, role, service_id))
    return ServiceContext(settings, identity, _controller(settings, controller), run_id)


def _controller(settings: RunSettings, given: str) -> str:
    """The controller's host:port: as given, else where the settings say that it is reached."""
    if not given:
        address = Address(settings.controller.reached_host, settings.controller.address.port)
        return str(address.seen_from_its_machine())
    try:
        return str(Address.parse(given))
    except ValueError as error:
        raise StartupError(f"--controller {given!r}: {error}") from error


def pin_service(settings: RunSettings, role: str) -> None:
    """Keeps this process to the cores, the GPUs and the priority of its role; call before torch is imported."""
    section = settings.service(role)
    show_gpus(section.gpus)
    stand_back(section.niceness)
    cores = section.cores
    pin_to_cores(cores)
    if cores is not None:
        # Thread pools size themselves by the machine's cores, not by those they are pinned to.
        os.environ.setdefault("OMP_NUM_THREADS", str(len(cores)))


def builder_of(role: str) -> Callable[[ServiceContext], Service]:
    """The role's `build`, imported when it is called."""

    def build(context: ServiceContext) -> Service:
        module = importlib.import_module(f"areal_mesh.{role}.service")
        return cast(Service, module.build(context))

    return build
