"""`areal-mesh view`: serves the page that shows runs."""

import errno
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.run_choice import RUNS, chosen_run, runs_there, settings_of
from areal_mesh.cli.running_runs import goes_on
from areal_mesh.cli.targets import Target
from areal_mesh.runtime.addresses import Address

_NEEDED = ("starlette", "uvicorn")


def view(sources: Sequence[str], target: Target, port: int) -> None:
    """Serves runs on loopback until it is interrupted.

    Args:
        sources: directories, presets or files of runs; none: those in `runs/`.
        target: controller of the run that goes on, where it has an address, and what proves to it who asks.

    Raises:
        CommandFailed: there is no such run, a package is missing, or the port is taken.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandFailed(f"{' and '.join(missing)}: not installed; install areal-mesh[view]")
    from areal_mesh.page.serving import serve
    from areal_mesh.page.shown_run import ShownRun

    folders = list(dict.fromkeys(chosen_run(source) for source in sources)) or runs_there()
    if not folders:
        raise CommandFailed(f"no run is in {RUNS.resolve()}; name the directory of one")
    runs = []
    for folder, name in zip(folders, _names(folders), strict=True):
        settings = settings_of(folder)
        listen = settings.controller.address
        of_settings = Address(settings.controller.reached_host, listen.port).seen_from_its_machine()
        reached = replace(target, address=target.address or str(of_settings))
        # A controller that was named may be on another machine, whose locks are not seen here.
        known = None if target.address else partial(goes_on, folder)
        runs.append(ShownRun(name, folder, settings, reached.address, reached.mesh, known))
    try:
        serve(runs, port, lambda address: print(f"{', '.join(run.name for run in runs)}: {address}", flush=True))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise CommandFailed(f"--port {port}: is taken; name another, or 0 for any that is free") from error


def _names(folders: Sequence[Path]) -> list[str]:
    """A name for each run: its folder's, with a number where several have the same."""
    names: list[str] = []
    for folder in folders:
        base = folder.resolve().name
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names
