"""`areal-mesh serve learner --node-rank N`: the ranks of a host that does not lead. They register nowhere."""

import sys
from collections.abc import Sequence

from areal_mesh.cli.serving import pin_service
from areal_mesh.runtime.exits import EXIT_CANNOT_START, EXIT_CRASHED
from areal_mesh.runtime.settings import SettingsError, load_settings
from areal_mesh.runtime.telemetry import configure_logging


def serve_ranks(source: str, overrides: Sequence[str], host: int) -> int:
    """Runs them until the leader has stopped them; returns the exit code. The last line on standard error is the cause.

    A supervisor starts it anew after EXIT_CRASHED, as it does the leader: the ranks then meet again.
    """
    name = f"learner, host {host}"
    try:
        settings = load_settings(source, overrides)
    except SettingsError as error:
        return _said(name, f"cannot start: {source}: {'; '.join(error.faults)}", EXIT_CANNOT_START)
    pin_service(settings, "learner")
    configure_logging(f"learner-host-{host}", settings.run_directory / "logs")
    from areal_mesh.learner.follow import serve_followers

    try:
        serve_followers(settings, host)
    except ValueError as error:
        return _said(name, f"cannot start: {error}", EXIT_CANNOT_START)
    except RuntimeError as error:
        return _said(name, f"ended: {error}", EXIT_CRASHED)
    return 0


def _said(name: str, cause: str, exit_code: int) -> int:
    print(f"areal-mesh {name}: {cause}", file=sys.stderr, flush=True)
    return exit_code
