"""A run in float16: what a mesh sees of its loss scale, and how a run ends that float16 cannot hold."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.runtime.errors import CannotGoOn
from areal_mesh.runtime.settings import RunSettings
from tests.integration.live_mesh import SECONDS, live_mesh, live_settings

pytestmark = pytest.mark.timeout(180)


def settings_with(folder: Path, **loss_scale: Any) -> RunSettings:
    plain = live_settings(folder).model_dump(mode="json")
    plain["model"]["dtype"] = "float16"
    plain["algorithm"]["update_on_equal_rewards"] = True
    plain["learner"]["loss_scale"] |= loss_scale
    return RunSettings.model_validate(plain)


async def test_a_float16_run_publishes_float16_and_shows_its_loss_scale(tmp_path: Path) -> None:
    async with live_mesh(settings_with(tmp_path, initial=2.0**10)) as mesh:
        status = await mesh.until_step(2)
        leader = mesh.services["learner"]._leader
        assert {str(dtype) for _, dtype, _ in leader.tensor_specs()} == {"torch.float16"}
        assert status.step_metrics["loss_scale"] >= 2.0**10
        assert status.step_metrics["skipped_updates"] == 0


async def test_gradients_that_overflow_at_the_minimum_end_the_run_and_name_the_tensor(tmp_path: Path) -> None:
    named = pytest.RaisesExc(
        CannotGoOn, match=r"the gradient of \S+ .*learner\.loss_scale\.minimum = 1\.09951e\+12; lower"
    )
    with pytest.RaisesGroup(named, flatten_subgroups=True):
        async with live_mesh(settings_with(tmp_path, initial=2.0**40, minimum=2.0**40)), asyncio.timeout(SECONDS):
            await asyncio.Event().wait()
