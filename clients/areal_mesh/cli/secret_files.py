"""Files that hold secrets: for their owner's eyes, whole or not at all, and never over what is there unless told so."""

import os
import tempfile
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed

OWNER_ONLY = 0o600
READABLE = 0o644


def write_file(path: Path, content: bytes, mode: int, replace: bool) -> None:
    """Writes a file whole, under its name in one step.

    Raises:
        CommandFailed: it is there already and is not to be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes it 0600: nobody reads along while it is written.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(name, path)
        else:
            os.link(name, path)
    except FileExistsError:
        raise CommandFailed(f"{path}: is there already and is left as it is; --force writes over it") from None
    finally:
        Path(name).unlink(missing_ok=True)
