"""A finished run is given more steps and another learning rate, and takes them."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.waiting import wait_until
from tests.integration.live_mesh import SECONDS, LiveMesh, live_mesh, live_settings


async def until_the_learner_left(mesh: LiveMesh) -> None:
    """The run is finished, and its last checkpoint is written."""
    never = asyncio.Event()
    folder = mesh.settings.run_directory / "checkpoints"
    async with asyncio.timeout(SECONDS):
        while not list(folder.glob(f"version-{mesh.settings.planned_steps:08d}/manifest.json")):
            await wait_until(never, 0.1)


async def test_a_finished_run_goes_on_under_another_learning_rate(tmp_path: Path) -> None:
    values = live_settings(tmp_path, steps=2).model_dump(mode="json")
    # Every response of the engine is alike here, and so is every reward.
    values["algorithm"]["update_on_equal_rewards"] = True
    settings = RunSettings.model_validate(values)
    async with live_mesh(settings) as mesh:
        await mesh.until_step(2)
        await until_the_learner_left(mesh)
    values["stages"][0]["max_steps"] = 4
    values["learner"]["learning_rate"] = 2e-5
    async with live_mesh(RunSettings.model_validate(values)) as mesh:
        status = await mesh.until_step(4)
        await until_the_learner_left(mesh)
    assert status.step_metrics["learning_rate"] == 2e-5
    with closing(sqlite3.connect(settings.run_directory / "ledger.db")) as ledger:
        [(kept,)] = ledger.execute("SELECT value FROM meta WHERE key = 'settings_changes'")
        steps = [row[0] for row in ledger.execute("SELECT step FROM steps ORDER BY step")]
    assert {change["key"]: (change["from_step"], change["now"]) for change in json.loads(kept)} == {
        "stages.0.max_steps": (3, 4),
        "learner.learning_rate": (3, 2e-5),
    }
    assert steps == [1, 2, 3, 4]
