"""`areal-mesh view`: serves the page that shows runs."""

import errno
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.run_choice import RUNS, chosen_run, runs_there, settings_of
from areal_mesh.cli.run_watch import run_is_over
from areal_mesh.cli.running_runs import goes_on
from areal_mesh.cli.targets import Target
from areal_mesh.runtime.addresses import Address

if TYPE_CHECKING:
    from areal_mesh.page.shown_run import ShownRun

_NEEDED = ("starlette", "uvicorn")


def view(sources: Sequence[str], target: Target, host: str, port: int, until_over: bool) -> None:
    """Serves runs until it is interrupted.

    Args:
        sources: directories, presets or files of runs; none: those in `runs/`.
        target: controller of the run that goes on, where it has an address, and what proves to it who asks.
        until_over: leave when the run of that controller is over.

    Raises:
        CommandFailed: there is no such run, a package is missing, the port is taken, or it is not said which run's end
            to wait for.
    """
    if until_over and not target.address:
        raise CommandFailed("--until-over: say whose run's end to wait for, with --controller")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandFailed(f"{' and '.join(missing)}: not installed; install areal-mesh[view]")
    from areal_mesh.page.serving import serve

    folders = list(dict.fromkeys(chosen_run(source) for source in sources)) or runs_there()
    if not folders:
        raise CommandFailed(f"no run is in {RUNS.resolve()}; name the directory of one")
    runs = [_shown(folder, name, target) for folder, name in zip(folders, _names(folders), strict=True)]
    try:
        serve(
            runs,
            host,
            port,
            lambda address: print(f"{', '.join(run.name for run in runs)}: {address}", flush=True),
            run_is_over(target, folders[0].parent) if until_over else None,
        )
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise CommandFailed(f"--host {host}: is no address of this machine; leave it out for loopback") from error
        if error.errno != errno.EADDRINUSE:
            raise
        raise CommandFailed(f"--port {port}: is taken; name another, or 0 for any that is free") from error


def _shown(folder: Path, name: str, target: Target) -> "ShownRun":
    from areal_mesh.page.shown_run import ShownRun

    settings = settings_of(folder)
    listen = settings.controller.address
    of_settings = Address(settings.controller.reached_host, listen.port).seen_from_its_machine()
    reached = replace(target, address=target.address or str(of_settings))
    # A controller that was named may be on another machine, whose locks are not seen here.
    known = None if target.address else partial(goes_on, folder)
    return ShownRun(name, folder, settings, reached.address, reached.mesh, known)


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
