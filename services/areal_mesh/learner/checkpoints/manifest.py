"""What a checkpoint says of itself, and which of a run's checkpoints are whole.

The manifest names every file of the folder with its size and SHA-256, `.metadata` too, which torch reads as a pickle:
so nothing of a checkpoint is read before it is known to be what was written. The manifest has a digest of its own.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_LOG = logging.getLogger(__name__)
FORMAT = 2
MANIFEST = "manifest.json"
_DIGEST = "digest"
_PREFIX = "version-"
# Hashing lets go of the interpreter: so many files at once.
_HASHED_AT_ONCE = 4


@dataclass(frozen=True)
class FileFacts:
    """One file: its bytes, and their SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


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
    lora: Mapping[str, Any] | None = None
    """`learner.lora` where its policy is adapters beside the weights of `model_folder`; None: it holds all weights."""
    format: int = FORMAT
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    """Each file but this, by its name."""

    @property
    def bytes(self) -> int:
        """Of all files that it names."""
        return sum(file.bytes for file in self.files.values())


def path_of(parent: Path, version: int) -> Path:
    """The folder of a version's checkpoint."""
    return parent / f"{_PREFIX}{version:08d}"


def seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest with the sizes and hashes of the files that are there."""
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as workers:
        hashes = list(workers.map(_sha256, paths))
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashed} for path, hashed in zip(paths, hashes, strict=True)
    }
    fields = {**asdict(manifest), "files": files}
    text = json.dumps({**fields, _DIGEST: _digest(fields)}, indent=2)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def folders(parent: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    if not parent.is_dir():
        return []
    return sorted((path for path in parent.iterdir() if is_version(path.name)), key=version_of, reverse=True)


def is_version(name: str) -> bool:
    """Whether a folder's name is that of a checkpoint."""
    return name.startswith(_PREFIX) and name[len(_PREFIX) :].isdigit()


def version_of(folder: Path) -> int:
    """The version of a checkpoint folder."""
    return int(folder.name[len(_PREFIX) :])


def whole_versions(parent: Path, contents: bool = False) -> Iterator[int]:
    """Versions of the whole checkpoints, newest first; the others are logged.

    Args:
        contents: hold every file against its hash too, which reads all of it. Take the first, and no other is read.
    """
    for folder in folders(parent):
        fault = fault_of(folder, contents)
        if fault is None:
            yield version_of(folder)
        else:
            _LOG.error("ignoring checkpoint %s: %s", folder, fault)


def fault_of(folder: Path, contents: bool) -> str | None:
    """What is wrong with a checkpoint folder, or None; `contents`: hold every file against its hash."""
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError, TypeError) as error:
        return f"its {MANIFEST} cannot be read ({error})"
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts.bytes:
            return f"{name} has {path.stat().st_size} bytes instead of {facts.bytes}"
    return _content_fault(folder, manifest) if contents else None


def _content_fault(folder: Path, manifest: Manifest) -> str | None:
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as workers:
        hashes = workers.map(_sha256, [folder / name for name in manifest.files])
        try:
            for (name, facts), found in zip(manifest.files.items(), hashes, strict=True):
                if found != facts.sha256:
                    return f"{name} is not what was written: its SHA-256 is {found} instead of {facts.sha256}"
        except OSError as error:
            return f"it cannot be read ({error})"
    return None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint.

    Raises:
        OSError: it cannot be read.
        ValueError, TypeError: it is damaged, or of another version of AReaL Mesh.
    """
    return parse_manifest((folder / MANIFEST).read_bytes())


def parse_manifest(text: bytes) -> Manifest:
    """A manifest from its bytes; raises as `read_manifest`."""
    fields: dict[str, Any] = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("it is no object")
    if fields.get("format") != FORMAT:
        raise ValueError(f"its format is {fields.get('format')}, and this version reads {FORMAT}")
    digest = fields.pop(_DIGEST, None)
    if digest != _digest(fields):
        raise ValueError("it is not what was written: its digest is another")
    files = {name: FileFacts(**facts) for name, facts in fields.pop("files").items()}
    return Manifest(**fields, files=files)


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
