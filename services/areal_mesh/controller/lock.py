"""One controller a run: a lock on a file of the run directory."""

from pathlib import Path

from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.locks import FileLock, LockHeld


def lock_run(directory: Path) -> FileLock:
    """Takes the run for this process."""
    try:
        return FileLock(directory / "controller.lock")
    except LockHeld as error:
        raise StartupError(
            f"{error.path}: another controller (process {error.holder}) works on this run; stop it, or give the run "
            "another name"
        ) from error
