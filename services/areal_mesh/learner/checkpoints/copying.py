"""Copies of whole checkpoints in a second place: any URL that fsspec knows (a folder, `s3://`, `gs://`, ...).

    <place>/owner.json            whose copies these are
    <place>/version-00000012/     the files, and last of all the manifest: a folder without one is no copy yet

A place belongs to one folder of checkpoints. Where another run has copied to it, nothing is written and nothing
deleted there.
"""

import json
import logging
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from areal_mesh.learner.checkpoints.manifest import MANIFEST, is_version, read_manifest

_LOG = logging.getLogger(__name__)
_OWNER = "owner.json"
_CLOSE_SECONDS = 600


class CopyFailed(RuntimeError):
    """A copy that could not be made; the message names the place, and what would do."""


@dataclass(frozen=True)
class CheckpointCopies:
    """The copies of a run's checkpoints.

    Args:
        url: the place.
        keep_last: so many copies are kept.
    """

    url: str
    keep_last: int

    def copy(self, folder: Path) -> None:
        """Copies a whole checkpoint, and deletes copies that are not among the last few. Blocks.

        Raises:
            CopyFailed: the place cannot be written, or belongs to another run.
        """
        try:
            files, place = fsspec.core.url_to_fs(self.url)
            _take(files, place, folder.parent)
            target = f"{place}/{folder.name}"
            _delete(files, target)
            files.makedirs(target, exist_ok=True)
            for name in read_manifest(folder).files:
                files.put_file(str(folder / name), f"{target}/{name}")
            files.put_file(str(folder / MANIFEST), f"{target}/{MANIFEST}")
            kept = self._names(files, place)[: self.keep_last]
            for name in _versions(files, place):
                if name not in kept:
                    _delete(files, f"{place}/{name}")
        # A store of any kind raises errors of its own libraries.
        except Exception as error:
            if isinstance(error, CopyFailed):
                raise
            raise CopyFailed(f"{folder.name} is not copied to {self.url}: {error or type(error).__name__}") from error

    def names(self) -> list[str]:
        """Folder names of the copies that are whole, newest first. Raises CopyFailed where the place cannot be read."""
        try:
            return self._names(*fsspec.core.url_to_fs(self.url))
        except Exception as error:
            raise CopyFailed(f"{self.url} cannot be read: {error or type(error).__name__}") from error

    def _names(self, files: Any, place: str) -> list[str]:
        return [name for name in _versions(files, place) if files.exists(f"{place}/{name}/{MANIFEST}")]


class BackgroundCopies:
    """Copies one checkpoint at a time on a thread of its own: training and the next checkpoint wait for none.

    One that is written while another is copied is passed over, unless it is the last.
    """

    def __init__(self, copies: CheckpointCopies) -> None:
        self._copies = copies
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint copies")
        self._running: Future[None] | None = None
        self._last: Path | None = None
        self.copied: Path | None = None
        """What is being copied, or was last."""
        self.failed = 0
        """Copies that came to nothing."""

    def begin(self, folder: Path) -> None:
        """Begins the copy of a checkpoint, unless one is under way."""
        self._last = folder
        if self._running is None or self._running.done():
            self.copied = folder
            self._running = self._thread.submit(self._copy, folder)

    def _copy(self, folder: Path) -> None:
        try:
            self._copies.copy(folder)
        except CopyFailed as error:
            self.failed += 1
            _LOG.error("%s", error)

    def close(self) -> None:
        """Finishes the copy of the last checkpoint; a store that hangs holds nobody up for more than ten minutes."""
        if self._last is not None and self._last != self.copied:
            self._running = self._thread.submit(self._copy, self._last)
        try:
            if self._running is not None:
                self._running.result(timeout=_CLOSE_SECONDS)
        except TimeoutError:
            _LOG.error("%s is not copied to %s in %d s", self._last, self._copies.url, _CLOSE_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _versions(files: Any, place: str) -> list[str]:
    """Names of the folders of checkpoints in a place, whole or not, newest first."""
    if not files.exists(place):
        return []
    names = (str(path).rstrip("/").rpartition("/")[2] for path in files.ls(place, detail=False, refresh=True))
    return sorted((name for name in names if is_version(name)), reverse=True)


def _take(files: Any, place: str, checkpoints: Path) -> None:
    """Makes the place that of this folder of checkpoints, or finds that it is."""
    mine = checkpoints / "copies.json"
    if not mine.exists():
        mine.write_text(json.dumps({"owner": secrets.token_hex(16)}), encoding="utf-8")
    owner = mine.read_bytes()
    theirs = f"{place}/{_OWNER}"
    if not files.exists(theirs):
        if files.exists(place) and files.ls(place, detail=False):
            raise CopyFailed(f"{place} is not empty, and no run's place for copies; give the run another one")
        files.makedirs(place, exist_ok=True)
        files.pipe_file(theirs, owner)
    elif files.cat_file(theirs) != owner:
        raise CopyFailed(f"{place} holds the checkpoints of another run; give this one another place")


def _delete(files: Any, folder: str) -> None:
    """Deletes a copy, its manifest first, so that what is left of it is none."""
    if files.exists(f"{folder}/{MANIFEST}"):
        files.rm_file(f"{folder}/{MANIFEST}")
    if files.exists(folder):
        files.rm(folder, recursive=True)
