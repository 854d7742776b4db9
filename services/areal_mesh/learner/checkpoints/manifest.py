"""What a checkpoint says of itself, and which of a run's checkpoints are whole."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

_LOG = logging.getLogger(__name__)
FORMAT = 1
MANIFEST = "manifest.json"
_PREFIX = "version-"


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds, beside its tensors."""

    policy_version: int
    step: int
    """The controller's step that the policy version ends."""
    stage: str
    optimizer_updates: int
    """Since the optimizer was last restarted; places the warm-up."""
    reference_version: int
    """Policy version of the KL reference: 0 is `model_folder`, any other is saved with the checkpoint."""
    model_folder: str
    world_size: int
    format: int = FORMAT
    files: dict[str, int] = field(default_factory=dict)
    """Bytes of each file but this."""


def path_of(parent: Path, version: int) -> Path:
    """The folder of a version's checkpoint."""
    return parent / f"{_PREFIX}{version:08d}"


def seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest with the sizes of the files that are there."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    text = json.dumps({**asdict(manifest), "files": files}, indent=2)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def folders(parent: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    if not parent.is_dir():
        return []
    named = [path for path in parent.iterdir() if path.name.startswith(_PREFIX) and path.name[len(_PREFIX) :].isdigit()]
    return sorted(named, key=version_of, reverse=True)


def version_of(folder: Path) -> int:
    """The version of a checkpoint folder."""
    return int(folder.name[len(_PREFIX) :])


def whole_versions(parent: Path) -> Iterator[int]:
    """Versions of the whole checkpoints, newest first; the others are logged."""
    for folder in folders(parent):
        fault = _fault(folder)
        if fault is None:
            yield version_of(folder)
        else:
            _LOG.warning("ignoring checkpoint %s: %s", folder, fault)


def _fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError, TypeError) as error:
        return f"its {MANIFEST} cannot be read ({error})"
    if manifest.format != FORMAT:
        return f"its format is {manifest.format}, and this version reads {FORMAT}"
    for name, size in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
    return None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole checkpoint."""
    return Manifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
