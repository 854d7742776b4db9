"""Folders that are there whole or not at all, whatever kills the process."""

import os
import shutil
from pathlib import Path

_REMOVED = ".removed"


def sync_folder(folder: Path) -> None:
    """fsync every file of a folder, and the folder."""
    for path in folder.iterdir():
        if path.is_file():
            sync_path(path)
    sync_path(folder)


def replace_folder(aside: Path, target: Path) -> None:
    """Make a folder written aside durable and give it its name, in place of one that has it.

    A rename cannot replace a folder that is not empty: the old one steps aside first, and a crash in between leaves
    neither under the name, but both beside it.
    """
    sync_folder(aside)
    old = target.with_name(f".{target.name}.replaced")
    remove_leftovers(old)
    if target.exists():
        target.rename(old)
    aside.rename(target)
    sync_path(target.parent)
    remove_leftovers(old)


def remove_folder(folder: Path) -> None:
    """Remove a folder that others may be reading: its name goes first and at once, so that nobody finds half of it."""
    gone = folder.with_name(f".{folder.name}{_REMOVED}")
    remove_leftovers(gone)
    folder.rename(gone)
    remove_leftovers(gone)


def finish_removals(parent: Path) -> None:
    """Remove what a crash left of the folders that `remove_folder` was removing in `parent`."""
    for gone in parent.glob(f".*{_REMOVED}"):
        remove_leftovers(gone)


def remove_leftovers(folder: Path) -> None:
    """Remove a folder that an interrupted write may have left."""
    if folder.exists():
        shutil.rmtree(folder)


def sync_path(path: Path) -> None:
    """fsync a file, or a folder: the names in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
