"""The run's settings in its directory, where no launcher has written them: every command that reads a run asks them."""

import json
from typing import Any

import structlog

from areal_mesh.runtime.run_files import SETTINGS_FILE, keep_settings
from areal_mesh.runtime.settings import RunSettings

_LOG = structlog.get_logger("controller")


def keep_settings_of(settings: RunSettings) -> None:
    """Writes them where there are none, or other ones of this run; a file that does not hold all settings is a user's,
    and stays."""
    file = settings.run_directory / SETTINGS_FILE
    wanted = settings.model_dump(mode="json")
    try:
        if not file.exists() or _are_of_this_run(json.loads(file.read_bytes()), wanted):
            keep_settings(settings.run_directory, wanted)
    except (OSError, ValueError) as error:
        _LOG.warning("the run's settings were not written to its directory", file=str(file), reason=str(error))


def _are_of_this_run(there: Any, wanted: dict[str, Any]) -> bool:
    """Other settings, all of them, as a controller or a launcher writes them."""
    return (
        isinstance(there, dict)
        and there != wanted
        and there.keys() == wanted.keys()
        and there["name"] == wanted["name"]
    )
