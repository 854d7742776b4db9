"""What settings ask for that is not there, or that cannot succeed: told by `config check`, and by `up` before it makes
anything.
"""

import importlib.util
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from areal_mesh.cli.findings import lacks
from areal_mesh.cli.lora_check import missing_peft
from areal_mesh.cli.machine import read_machine
from areal_mesh.cli.model_check import model_faults
from areal_mesh.cli.prompt_check import prompt_faults
from areal_mesh.evaluation.suites import SuiteError, find_suite
from areal_mesh.recipes.table import recipe_targets
from areal_mesh.runtime.end_tokens import EndTokenError, check_end_tokens
from areal_mesh.runtime.made import NotMadeHere, made_from
from areal_mesh.runtime.settings import EvaluationSettings, RunSettings
from areal_mesh.runtime.settings.weights import DeltaSettings, GlooSettings

_GLOO_VARIABLE = "GLOO_SOCKET_IFNAME"
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def remarks(settings: RunSettings) -> Iterator[str]:
    """What holds as settings but was not, or cannot be, run on this machine, a line each."""
    yield from gaps(settings)
    if settings.generator.services > 1:
        yield (
            f"generator.services = {settings.generator.services}: `areal-mesh up` starts one of them on this machine; "
            "`areal-mesh serve generator` starts the others where they belong, under a --service-id each"
        )
    if settings.learner.ranks > 1:
        yield f"learner.ranks = {settings.learner.ranks}: FSDP2 over {settings.learner.ranks} processes; unrun here"


def gaps(settings: RunSettings) -> Iterator[str]:
    """Those of them without which a run cannot begin here."""
    yield from _missing_gpus(settings)
    yield from missing_interfaces(settings)
    yield from missing_data(settings)
    yield from not_a_recipes(settings)
    yield from missing_trackers(settings)
    yield from missing_peft(settings)
    unwritable = list(_unwritable(settings))
    # A directory that cannot be written in has no room either.
    yield from unwritable or lacks(read_machine(settings.directory), settings)


def faults(settings: RunSettings, most_prompts: int = 0) -> Iterator[str]:
    """Why no run with this model and these prompts could succeed, on any machine; as far as they are there.

    Args:
        most_prompts: look at the first so many; 0 for all that the run uses.
    """
    yield from _unusable_end_tokens(settings)
    yield from prompt_faults(settings, most_prompts)
    yield from model_faults(settings)


def missing_interfaces(settings: RunSettings) -> Iterator[str]:
    """Network interfaces that weights are to be broadcast on and that this machine has not, a line each."""
    transport = settings.weights.transport
    if isinstance(transport, DeltaSettings):
        transport = transport.over
    if not isinstance(transport, GlooSettings):
        return
    here = [name for _, name in socket.if_nameindex()]
    named = {
        "weights.transport.interface": transport.interface,
        f"${_GLOO_VARIABLE} in the environment": os.environ.get(_GLOO_VARIABLE),
    }
    for key, name in named.items():
        if name and name not in here:
            yield (
                f"{key} = {name}: this machine has no such network interface; name one of {', '.join(here)}, or leave "
                "it out: the one with the learner's address is taken then"
            )


def missing_trackers(settings: RunSettings) -> Iterator[str]:
    """Packages of the sinks that are not installed, a line each; a run without TensorBoard goes on without it."""
    for sink in settings.sinks:
        if sink.needs and sink.type != "tensorboard" and importlib.util.find_spec(sink.needs) is None:
            yield f'sinks: "{sink.type}" needs {sink.needs}, which is not installed; install it, or take the sink out'


def gpu_present() -> bool:
    """Whether a GPU's driver shows on this machine; asks no library."""
    return any(Path(device).exists() for device in _GPU_DEVICES)


def missing_data(settings: RunSettings) -> Iterator[str]:
    """Model and prompts that are not there and that no recipe makes, a line each."""
    model, prompts = settings.model, settings.prompts
    # From os.path: pathlib raises where a folder on the way may not be searched.
    exists, is_dir, is_file = os.path.exists, os.path.isdir, os.path.isfile
    made = recipe_targets(settings)
    name_model = "name one with --set model.folder=..."
    if exists(model.folder) and not is_dir(model.folder):
        yield f"model.folder = {model.folder}: is no folder; {name_model}"
    elif "model.folder" not in made and not exists(model.folder):
        yield f"model.folder = {model.folder}: not there yet; put a Hugging Face folder there, or {name_model}"
    elif "model.folder" not in made and not is_file(model.folder / "config.json"):
        yield f"model.folder = {model.folder}: holds no config.json; put a Hugging Face model there, or {name_model}"
    name_prompts = "name one with --set prompts.file=..."
    if exists(prompts.file) and not is_file(prompts.file):
        yield f"prompts.file = {prompts.file}: is no file; {name_prompts}"
    elif "prompts.file" not in made and not exists(prompts.file):
        yield f"prompts.file = {prompts.file}: not there yet; put a JSONL file there, or {name_prompts}"
    for place, also in enumerate(prompts.also):
        if not is_file(also.file):
            yield f"prompts.also.{place}.file = {also.file}: no such file; name one that is there, or take it out"
    yield from _missing_suites(settings.evaluation)


def _missing_suites(section: EvaluationSettings) -> Iterator[str]:
    """Suites of an evaluation during training that are not there, a line each."""
    for word in section.suites if section.every else ():
        try:
            find_suite(word, section.data)
        except SuiteError as error:
            yield f"evaluation.suites: {error}"


def not_a_recipes(settings: RunSettings) -> Iterator[str]:
    """Model and prompts that a recipe would write over though it did not make them, a line each."""
    for key, path in recipe_targets(settings).items():
        is_kind = os.path.isdir if key == "model.folder" else os.path.isfile
        if os.path.exists(path) and not is_kind(path):
            # Said already: a file in the place of a folder.
            continue
        try:
            made_from(path)
        except NotMadeHere as error:
            yield f"{key} = {error}"
        except OSError as error:
            yield f"{key} = {path}: cannot be read: {(error.strerror or str(error)).lower()}"


def _unusable_end_tokens(settings: RunSettings) -> Iterator[str]:
    try:
        check_end_tokens(settings.model.folder, settings.model.end_token_ids)
    except EndTokenError as error:
        yield str(error)


def _missing_gpus(settings: RunSettings) -> Iterator[str]:
    if gpu_present():
        return
    for role in ("generator", "learner"):
        section = getattr(settings, role)
        if section.device == "cuda":
            yield (
                f'{role}.device = "cuda": unrun here, this machine shows no GPU; the settings are checked, the code '
                'path is not; use device = "cpu" with weights.transport.type = "gloo", or a machine with one'
            )


def _unwritable(settings: RunSettings) -> Iterator[str]:
    folder = settings.run_directory
    # The nearest that is there, be it a file or a link that leads nowhere: what is to be made is made in it.
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        # Written, for permissions do not tell: root has them all, in /proc too. The file has no name to leave behind.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        yield (
            f"directory = {settings.directory}: {there} cannot be written in: {cause}; "
            "name another with --set directory=..."
        )
