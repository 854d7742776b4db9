"""Settings for a command: resolved, or the command fails with what would do."""

from collections.abc import Sequence

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings


def resolved(source: str, overrides: Sequence[str] = ()) -> RunSettings:
    """The settings of a preset or file with `overrides` on top.

    Raises:
        CommandFailed: they do not hold, and would not on a second try.
    """
    try:
        return load_settings(source, overrides)
    except SettingsError as error:
        raise CommandFailed(str(error), EXIT_CANNOT_START) from error
