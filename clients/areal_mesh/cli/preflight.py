"""What a service checks before it imports anything heavy, so that one that cannot start says why within seconds."""

import importlib.util
import socket
from contextlib import closing

from areal_mesh.cli.gaps import gpu_present, missing_interfaces
from areal_mesh.cli.lora_check import lora_faults, missing_peft
from areal_mesh.cli.model_check import position_faults, template_faults
from areal_mesh.recipes.table import recipe_targets
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import GeneratorSettings, LearnerSettings, RunSettings, ServiceSettings

_EXTRAS = {
    "generator": ("vllm", "areal-mesh[generator,cpu] or areal-mesh[generator,gpu]"),
    "learner": ("torch", "areal-mesh[learner]"),
    "verifier": ("sympy", "areal-mesh[verifier]"),
}


def check_role(settings: RunSettings, role: str, given: str) -> None:
    """Checks what `role` needs of this machine.

    `given`: how a command line gives these settings, a preset or file and what is put on top.

    Raises:
        StartupError: its first fault, with what would do.
    """
    section = settings.service(role)
    _check_installed(role)
    check_reachable(role, section)
    check_listen(f"{role}.listen", section.address)
    if section.metrics_port:
        check_listen(f"{role}.metrics_port", section.metrics_address)
    if role == "controller":
        _check_prompts(settings, given)
    if isinstance(section, GeneratorSettings | LearnerSettings):
        _check_device(role, section.device)
        _check_model(settings, given)
        for fault in (*missing_interfaces(settings), *position_faults(settings), *template_faults(settings)):
            raise StartupError(fault)
    if role == "learner":
        for fault in (*missing_peft(settings), *lora_faults(settings)):
            raise StartupError(fault)


def _check_installed(role: str) -> None:
    if role in _EXTRAS:
        package, extra = _EXTRAS[role]
        if importlib.util.find_spec(package) is None:
            raise StartupError(f"the {role} needs {package}, which is not installed; install {extra}")


def check_reachable(role: str, section: ServiceSettings) -> None:
    """Checks that others can be told where to reach the service. They are told nothing of the controller's address.

    Raises:
        StartupError: it listens on every interface, and names no host.
    """
    if role != "controller" and Address(section.reached_host, 0).is_wildcard:
        raise StartupError(
            f"{role}.listen = {section.listen}: every interface is no address at which others reach the {role}; name "
            f"this host as they know it with --set {role}.advertise=HOST"
        )


def check_listen(key: str, address: Address) -> None:
    """Checks that a server can be bound to `address`, the value of the setting `key`.

    Raises:
        StartupError: it cannot, with what would do.
    """
    if address.port == 0:
        return
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise StartupError(f"{key} = {address}: no such host: {error.strerror}; name one of this machine") from error
    family, kind, protocol, _, target = found[0]
    with closing(socket.socket(family, kind, protocol)) as probe:
        # As the server binds: a port in TIME_WAIT after a restart is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(target)
            probe.listen(1)
        except OSError as error:
            raise StartupError(
                f"{key} = {address}: {(error.strerror or str(error)).lower()}; choose another port with "
                f"--set {key}=..., or stop what holds it"
            ) from error


def _check_prompts(settings: RunSettings, given: str) -> None:
    file = settings.prompts.file
    if not file.is_file():
        how = f"run `areal-mesh prepare {given}`, or " if "prompts.file" in recipe_targets(settings) else ""
        what = "is no file" if file.exists() else "no such file"
        raise StartupError(f"prompts.file = {file}: {what}; {how}name a JSONL file with --set prompts.file=...")


def _check_model(settings: RunSettings, given: str) -> None:
    folder = settings.model.folder
    if not (folder / "config.json").is_file():
        how = f"run `areal-mesh prepare {given}`, or " if "model.folder" in recipe_targets(settings) else ""
        what = "holds no config.json" if folder.is_dir() else "no such folder"
        raise StartupError(
            f"model.folder = {folder}: {what}; {how}name a Hugging Face folder with --set model.folder=..."
        )


def _check_device(role: str, device: str) -> None:
    if device == "cuda" and not gpu_present():
        raise StartupError(
            f'{role}.device = "cuda": this machine shows no GPU; '
            f'use device = "cpu" with weights.transport.type = "gloo", or a machine with one'
        )
