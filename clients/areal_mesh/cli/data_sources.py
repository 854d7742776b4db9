"""Where a data set's file is: on this machine, or fetched from where it is published when that is asked for."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.preparation.generated import PREFIX, generated_rows
from areal_mesh.preparation.named import HUB, NAMED, NamedSet, on_hub
from areal_mesh.preparation.reading import Row, read_rows

_SECONDS = 60.0
_PIECE = 1 << 20
METADATA = "id2info.json"


@dataclass(frozen=True)
class Found:
    """A data set's files."""

    name: str
    file: Path
    metadata: Path | None
    columns: str
    task: str = ""
    """That makes the problems up; there is no file then, but its place."""

    def rows(self, count: int, seed: int) -> Iterator[Row]:
        """The set's rows; of a task so many, by the seed. Raises FileFault."""
        return generated_rows(self.task, count, seed) if self.task else read_rows(self.file)


def find(wanted: str, folder: Path, metadata: str, fetch: bool) -> Found:
    """The files of a data set, by its name or by a path.

    Raises:
        CommandFailed: they are not there; says which file belongs where.
    """
    known = NAMED.get(wanted)
    if wanted.startswith(PREFIX):
        name = wanted.replace("/", "-")
        return Found(name, folder / name, None, "", wanted.removeprefix(PREFIX))
    if wanted.startswith(HUB):
        return _on_hub(wanted, folder)
    if known is None:
        return _given(Path(wanted).expanduser(), metadata)
    file = next((path for path in _places(wanted, known, folder) if path.is_file()), None)
    if file is None and fetch:
        file = _fetched(known, known.files[0], folder / wanted / known.names[0])
    if file is None:
        raise CommandFailed(
            f"{wanted}: not in {folder}; put {known.address}/{known.files[0]} there as "
            f"{folder / wanted / known.names[0]}, or fetch it with --from hub"
        )
    return Found(wanted, file, _metadata(known, file, folder / wanted, metadata, fetch), known.columns)


def _on_hub(wanted: str, folder: Path) -> Found:
    """A file of the hub, fetched unless it was before."""
    try:
        known = on_hub(wanted)
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    to = folder / wanted.removeprefix(HUB)
    file = to if to.is_file() else _fetched(known, known.files[0], to)
    return Found(file.name.split(".", 1)[0] or file.name, file, None, "")


def _given(file: Path, metadata: str) -> Found:
    if not file.is_file():
        known = ", ".join((*NAMED, f"{PREFIX}TASK", f"{HUB}OWNER/NAME/PATH"))
        raise CommandFailed(f"{file}: no such file, and no data set of that name; there are {known}")
    beside = file.with_name(METADATA)
    given = Path(metadata).expanduser() if metadata else beside
    if metadata and not given.is_file():
        raise CommandFailed(f"--metadata {metadata}: no such file")
    used = given if given.is_file() and (metadata or file.name.startswith("prompts_for_")) else None
    name = file.name.split(".", 1)[0] or file.name
    return Found(name, file, used, "problem=prompt,id=query_id" if used is not None else "")


def _places(name: str, known: NamedSet, folder: Path) -> list[Path]:
    """Where a set's file may lie; under the hub's own name only in a folder of the set's."""
    named = [folder / name / own for own in known.names]
    loose = [folder / own for own in known.names if not own.startswith("train-")]
    return [*named, *loose, folder / f"{name}.jsonl", folder / f"{name}.json", folder / f"{name}.parquet"]


def _metadata(known: NamedSet, file: Path, folder: Path, given: str, fetch: bool) -> Path | None:
    if len(known.files) < 2 and not given:
        return None
    for path in (Path(given).expanduser(),) if given else (file.with_name(METADATA), folder / METADATA):
        if path.is_file():
            return path
    if fetch and not given:
        return _fetched(known, known.files[1], file.with_name(METADATA))
    raise CommandFailed(
        f"{file}: its answers are in {METADATA}, which is not beside it; put {known.address}/{known.files[-1]} there "
        f"as {file.with_name(METADATA)}, or name it with --metadata"
    )


def _asking(address: str) -> urllib.request.Request:
    """The request; with the hub's token, where there is one, for a set that is not everybody's."""
    token = os.environ.get("HF_TOKEN", "")
    return urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})


def _fetched(known: NamedSet, path: str, to: Path) -> Path:
    """Fetches a file; whole or not at all.

    Raises:
        CommandFailed: there is no way to it.
    """
    address = f"{known.address}/{path}"
    to.parent.mkdir(parents=True, exist_ok=True)
    aside = to.with_name(f".{to.name}.{os.getpid()}.new")
    try:
        with urllib.request.urlopen(_asking(address), timeout=_SECONDS) as answer, aside.open("wb") as file:
            while piece := answer.read(_PIECE):
                file.write(piece)
        aside.replace(to)
    except (OSError, urllib.error.URLError, ValueError) as error:
        reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", None) or error
        raise CommandFailed(
            f"{address} cannot be reached: {reason}; fetch it on a machine that can (a private set with "
            f"HF_TOKEN), and put it here as {to}"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return to
