"""Runs of this machine that go on now, found by their directories; and where their controllers are."""

import json
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.options import CONTROLLER_VARIABLE, DEFAULT_CONTROLLER
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.run_files import SETTINGS_FILE

_RUNS = Path("runs")
"""Where runs lie unless `directory` says otherwise."""
_LOCKS = Path("/proc/locks")


def goes_on(folder: Path) -> bool:
    """Whether a launcher or a controller works on the run now; False where the system does not tell.

    The locks are not tried: for a moment's hold on one its owner could fail to start.
    """
    files = (folder.parent / f".{folder.name}.lock", folder / "controller.lock")
    inodes = {str(file.stat().st_ino) for file in files if file.exists()}
    if not _LOCKS.exists():
        return False
    held = [line.split() for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()]
    # The last of the three parts of a file's word, `fe:00:2392468`, is its inode.
    return any(word.rpartition(":")[2] in inodes for words in held if "FLOCK" in words for word in words)


def running_controllers(runs: Path = _RUNS) -> dict[str, str]:
    """Addresses of the controllers of the runs under `runs` that go on, by run."""
    found = {}
    for settings in sorted(runs.glob(f"*/{SETTINGS_FILE}")):
        if goes_on(settings.parent):
            address = _controller_of(settings)
            if address:
                found[settings.parent.name] = address
    return found


def _controller_of(settings: Path) -> str:
    try:
        listen = json.loads(settings.read_text(encoding="utf-8"))["controller"]["listen"]
        address = Address.parse(listen)
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(address.seen_from_its_machine()) if address.port else ""


def find_controller(runs: Path = _RUNS) -> str:
    """The controller of the one run that goes on here; the usual address where none is seen to.

    Raises:
        CommandFailed: several go on.
    """
    found = running_controllers(runs)
    if len(found) > 1:
        listed = "".join(f"\n  --controller {address}   {name}" for name, address in found.items())
        raise CommandFailed(
            f"{len(found)} runs go on here; say which, by the option or by ${CONTROLLER_VARIABLE}:{listed}"
        )
    return next(iter(found.values()), DEFAULT_CONTROLLER)
