"""The mark by which a recipe knows what it made: what from, and a digest of every file.

Nothing else is a recipe's to write over: not what a user put there, and not what it made and somebody changed since.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDER_MARK = "made_from.json"
"""The mark of a folder, inside it. An export or a copy with other weights does not match it."""


class NotMadeHere(FileExistsError):
    """Something that no recipe made, or that was changed since: it is left as it is."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: {why}, so it is left as it is; use it with --set model.recipe=none, or name another place for "
            "what the recipe makes"
        )


def mark_folder(folder: Path, made_from: Mapping[str, Any]) -> None:
    """Marks a folder all of whose files a recipe made from `made_from`."""
    _write(folder / FOLDER_MARK, made_from, {name: [_digest(folder / name)] for name in _files(folder)})


def replace_file(aside: Path, file: Path, made_from: Mapping[str, Any]) -> None:
    """Gives a file that a recipe made from `made_from` its name, in place of one that has it, and its mark.

    The mark comes first and holds both digests, so that a crash in between leaves a file that is known.
    """
    former = [_digest(file)] if file.exists() else []
    _write(file_mark(file), made_from, {file.name: [_digest(aside), *former]})
    aside.replace(file)


def write_made(file: Path, make: Callable[[], str], source: Mapping[str, Any]) -> bool:
    """Writes a text whole or not at all, as made from `source`; False if the file was made from just this, and is not
    made again.

    Raises:
        NotMadeHere: there is a file, and nothing of ours made it, or it was changed since; it is left untouched.
    """
    if is_made_from(file, source) and not _is_former(file):
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with aside.open("w", encoding="utf-8") as written:
        written.write(make())
        written.flush()
        os.fsync(written.fileno())
    replace_file(aside, file, source)
    return True


def _is_former(file: Path) -> bool:
    """Whether a crash in `replace_file` left the former file under the mark of the next."""
    _, digests = _read(file_mark(file), file)
    return _digest(file) != digests[file.name][0]


def file_mark(file: Path) -> Path:
    """Where the mark of a file lies."""
    return file.with_name(f".{file.name}.{FOLDER_MARK}")


def made_from(path: Path) -> dict[str, Any] | None:
    """What a recipe made the file or folder at `path` from; None where there is nothing, or an empty folder.

    Raises:
        NotMadeHere: no recipe made it, or it was changed since.
        OSError: it cannot be read.
    """
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return None
    mark, folder = (path / FOLDER_MARK, path) if path.is_dir() else (file_mark(path), path.parent)
    if not mark.is_file():
        raise NotMadeHere(path, "no recipe made it")
    source, digests = _read(mark, path)
    there = _files(path) if path.is_dir() else {path.name}
    for name in sorted(there | digests.keys()):
        if name not in there or _digest(folder / name) not in digests.get(name, ()):
            raise NotMadeHere(path, f"{name} is not as a recipe left it")
    return source


def is_made_from(path: Path, source: Mapping[str, Any]) -> bool:
    """Whether a recipe made `path` from `source`; raises as `made_from`."""
    wanted: object = json.loads(json.dumps(source))
    return made_from(path) == wanted


def _files(folder: Path) -> set[str]:
    """All that a folder holds, its mark left out; folders within it by their names."""
    return {path.name for path in folder.iterdir()} - {FOLDER_MARK}


def _write(mark: Path, source: Mapping[str, Any], digests: Mapping[str, list[str]]) -> None:
    aside = mark.with_name(f"{mark.name}.{os.getpid()}.new")
    aside.write_text(
        json.dumps({"made_from": source, "sha256": digests}, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    aside.replace(mark)


def _read(mark: Path, path: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    try:
        value = json.loads(mark.read_bytes())
        return dict(value["made_from"]), dict(value["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotMadeHere(path, f"its mark {mark.name} is damaged") from error


def _digest(path: Path) -> str:
    """SHA-256 of a file; of anything else its name, which no mark holds."""
    if not path.is_file():
        return path.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
