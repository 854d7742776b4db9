"""Mismatch as a checked mode: an alarm while training goes on, and an end of the run."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from areal_mesh.controller.mismatch import mismatch_alarm, mismatch_stop
from areal_mesh.controller.run import Run
from areal_mesh.runtime.settings import LearnerSettings
from tests.unit.run_scene import Scene, begun_with, lease, store
from tests.unit.stage_support import stage


def settings(**given: Any) -> LearnerSettings:
    return LearnerSettings.model_validate(given)


def test_what_is_over_a_bound_is_said_with_the_setting_and_causes() -> None:
    section = settings(mismatch_alarm=0.001, mismatch_stop=0.1)
    assert mismatch_alarm(section, 0.001) == ""
    said = mismatch_alarm(section, 0.02)
    assert said.startswith("mismatch_kl = 0.02 is over learner.mismatch_alarm = 0.001: learner and engine compute")
    assert mismatch_stop(section, 0.02) == ""
    assert "learner.mismatch_stop = 0.1" in mismatch_stop(section, 0.2)
    assert mismatch_alarm(settings(), 1e9) == mismatch_stop(settings(), 1e9) == ""


def test_an_alarm_that_could_never_sound_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"mismatch_alarm = 0\.5 is over mismatch_stop = 0\.1"):
        settings(mismatch_alarm=0.5, mismatch_stop=0.1)


def committed(run: Run, mismatch_kl: float) -> None:
    batch = lease(run, run.settings.algorithm.batch_groups)
    store(run, batch)
    assert run.commit(run.version + 1, batch, {"mismatch_kl": mismatch_kl}, {0: len(batch)})


def test_a_step_over_the_bound_ends_the_run_in_this_life_and_the_next(tmp_path: Path) -> None:
    run_settings = begun_with(stage("8", 64, 10))
    learner = run_settings.learner.model_copy(update={"mismatch_stop": 1e-6})
    scene = Scene(tmp_path / "ledger.db", run_settings.model_copy(update={"learner": learner}))
    run = scene.open()
    scene.publish(run, 0)
    committed(run, 1e-9)
    assert run.hopeless == ""
    committed(run, 1e-3)
    for life in (run, scene.killed()):
        assert life.hopeless.startswith("mismatch_kl = 0.001 is over learner.mismatch_stop = 1e-06")
