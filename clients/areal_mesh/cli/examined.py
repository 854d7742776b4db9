"""The checkpoints that `areal-mesh eval` is given: a model folder, a run, a version of a run, or a checkpoint of it."""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.found_runs import is_run
from areal_mesh.cli.machine import read_machine
from areal_mesh.cli.report import run_folder
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings

_VERSION = re.compile(r"(?P<source>.+)@(?P<version>\d+)\Z")
_CHECKPOINT = re.compile(r"version-(?P<version>\d+)\Z")
_EXPORT = re.compile(r"export-(?P<version>\d+)\Z")
_CHUNK = 1 << 20
_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True)
class Examined:
    """A model that is examined."""

    label: str
    folder: Path
    """A model folder as transformers and vLLM load it."""
    settings: RunSettings
    """How it is prompted and sampled, and what engine it gets."""
    version: int | None
    """The policy version of a run; None for a model folder."""
    digest: str
    """SHA-256 of the folder's files."""


def examined(words: Sequence[str], config: str, overrides: Sequence[str]) -> list[Examined]:
    """The checkpoints, those of runs exported where that was not done before.

    Args:
        config: settings in place of those of the runs, and of the usual ones for model folders; empty for none.
        overrides: on top of whatever settings.

    Raises:
        CommandFailed: there is no such checkpoint, two have one name, or the settings do not hold.
    """
    found = [_examined(word, config, overrides) for word in words]
    labels = [one.label for one in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise CommandFailed(f"two checkpoints are called {twice}: examine them apart, or rename a folder")
    return found


def _examined(word: str, config: str, overrides: Sequence[str]) -> Examined:
    path = Path(word)
    if (path / "config.json").is_file():
        return _of_folder(path, config, overrides)
    named = _CHECKPOINT.match(path.name)
    if named and path.is_dir() and is_run(path.parent.parent):
        return _of_run(path.parent.parent, int(named["version"]), config, overrides)
    versioned = _VERSION.match(word)
    if versioned:
        return _of_run(run_folder(versioned["source"]), int(versioned["version"]), config, overrides)
    if path.is_dir() and not is_run(path):
        raise CommandFailed(
            f"{word}: holds no config.json, so it is no model folder, and it is no run's directory either; give a "
            "model folder, a run such as runs/trial, or a version of one such as runs/trial@40"
        )
    return _of_run(run_folder(word), None, config, overrides)


def _of_folder(folder: Path, config: str, overrides: Sequence[str]) -> Examined:
    exported = _EXPORT.match(folder.name)
    run = folder.resolve().parent.parent
    if exported and is_run(run):
        version = int(exported["version"])
        return _made(f"{run.name}@{version}", folder, config or str(run / SETTINGS_FILE), overrides, version)
    return _made(folder.resolve().name, folder, config, overrides, None)


def _of_run(run: Path, version: int | None, config: str, overrides: Sequence[str]) -> Examined:
    chosen, folder = _export(run, version)
    return _made(f"{run.name}@{chosen}", folder, config or str(run / SETTINGS_FILE), overrides, chosen)


def _export(run: Path, version: int | None) -> tuple[int, Path]:
    """The model folder of a run's checkpoint, as `areal-mesh export` writes it; and its version."""
    checkpoints = run / "checkpoints"
    exports = {
        int(match["version"]): path for path in checkpoints.glob("export-*") if (match := _EXPORT.match(path.name))
    }
    newest = max(
        (int(m["version"]) for p in checkpoints.glob("version-*") if (m := _CHECKPOINT.match(p.name))), default=-1
    )
    wanted = max([newest, *exports], default=-1) if version is None else version
    if wanted in exports:
        return wanted, exports[wanted]
    from areal_mesh.learner.checkpoints.exporting import NotExported, export_version

    try:
        settings = load_settings(run / SETTINGS_FILE)
        folder = export_version(checkpoints, version, settings.model.folder, settings.model.dtype, None)
    except (NotExported, OSError, SettingsError) as error:
        raise CommandFailed(f"{run}: {error}") from error
    return int(folder.name.rpartition("-")[2]), folder


def _made(label: str, folder: Path, source: str, overrides: Sequence[str], version: int | None) -> Examined:
    # An engine beside nobody: no cores are kept for others.
    own = [f"model.folder={folder}", "model.recipe=none", "generator.engine_cores=none", "evaluation.every=0"]
    try:
        if source:
            settings = load_settings(source, [*own, *overrides])
        else:
            with tempfile.TemporaryDirectory() as aside:
                file = Path(aside) / "evaluation.json"
                file.write_text(json.dumps(usual_settings(folder)), encoding="utf-8")
                settings = load_settings(file, [*own, *overrides])
    except SettingsError as error:
        # The usual settings' file is none of the user's.
        told = str(error) if source else "; ".join(error.faults)
        raise CommandFailed(f"{label}: {told}", EXIT_CANNOT_START) from error
    return Examined(label, folder, settings, version, folder_digest(folder))


def usual_settings(folder: Path) -> dict[str, Any]:
    """Settings for a model folder that no run says anything of: as AReaL v0.1 evaluated its distilled models."""
    config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    dtype = config.get("dtype") or config.get("torch_dtype")
    device, transport = ("cuda", "nccl") if read_machine(folder).gpus else ("cpu", "gloo")
    return {
        "name": "evaluation",
        "model": {"folder": str(folder), "dtype": dtype if dtype in ("float32", "float16") else "bfloat16"},
        "prompts": {"file": "none.jsonl", "instruction": _INSTRUCTION},
        "stages": [{"name": "evaluation", "max_response_tokens": 32768, "max_steps": 1}],
        "algorithm": {"temperature": 0.6},
        "generator": {"device": device},
        "learner": {"device": device},
        "weights": {"transport": {"type": transport}},
    }


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and the content of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
