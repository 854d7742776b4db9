"""Makes what a preset has a recipe for: the model's folder and the prompt file, in a process of its own.

The recipes know themselves what is there already; here it is only known that a run was prepared before.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import missing_data, not_a_recipes
from areal_mesh.cli.resolving import resolved
from areal_mesh.recipes.table import recipe_of, recipe_targets
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.made import made_from
from areal_mesh.runtime.orphans import OrphanGuard, kill_session
from areal_mesh.runtime.restarts import describe_exit
from areal_mesh.runtime.settings import RunSettings


def prepare(source: str, overrides: Sequence[str]) -> None:
    """Makes what the settings have a recipe for, and says what has to be put there by hand.

    Raises:
        CommandFailed: the settings do not hold, the recipe would write over what it did not make, it failed, or model
            or prompts are missing after it.
    """
    settings = resolved(source, overrides)
    foreign = [f"{source}: {gap}" for gap in not_a_recipes(settings)]
    if foreign:
        raise CommandFailed("\n".join(foreign), EXIT_CANNOT_START)
    prepare_data(settings)
    if settings.model.recipe is None:
        print(f"{source}: has no recipe, so nothing is made (model.recipe is left out)", flush=True)
    missing = [f"{source}: {gap}" for gap in missing_data(settings)]
    if missing:
        raise CommandFailed("\n".join(missing))
    print(f"{source}: model and prompts are there, {settings.model.folder} and {settings.prompts.file}")


def recipe_command(settings: RunSettings) -> list[str]:
    """The command that makes what the settings have a recipe for; empty where they name none."""
    recipe = recipe_of(settings)
    if recipe is None:
        return []
    return [sys.executable, "-m", recipe.module, *recipe.arguments(settings, settings.model.recipe)]


def prepare_data(settings: RunSettings) -> None:
    """Runs the recipe, if there is one; it shows its own progress.

    Raises:
        CommandFailed: the recipe failed.
    """
    command = recipe_command(settings)
    if not command:
        return
    with OrphanGuard() as guard:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        guard.watch(process.pid)
        try:
            exit_code = process.wait()
        finally:
            if process.returncode is None:
                kill_session(process.pid)
                process.wait()
            guard.release(process.pid)
    if exit_code != 0:
        assert settings.model.recipe is not None
        raise CommandFailed(
            f"model.recipe = {settings.model.recipe.type}: making {settings.model.folder} failed "
            f"({describe_exit(exit_code)}); the cause is above",
            EXIT_CANNOT_START if exit_code == EXIT_CANNOT_START else 1,
        )


def prepare_run(settings: RunSettings, record: Path) -> bool:
    """As `prepare_data`, unless `record` says that it was done for this run and the same is there still; False if so.

    `record` (`setup.json` of the run directory) keeps the seconds that it took.
    """
    wanted = recipe_command(settings)[1:]
    if record.is_file():
        done: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        present = (settings.model.folder / "config.json").is_file() and settings.prompts.file.is_file()
        if present and done.get("command") == wanted and done.get("made_from") == _made_from(settings):
            return False
    began = time.monotonic()
    prepare_data(settings)
    made = {"command": wanted, "made_from": _made_from(settings), "seconds": time.monotonic() - began}
    record.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return True


def _made_from(settings: RunSettings) -> list[Any]:
    """What a recipe made model and prompts from; another run may have had others made in their place since."""
    return [made_from(path) for path in recipe_targets(settings).values()]
