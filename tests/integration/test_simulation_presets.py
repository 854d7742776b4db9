"""`areal-mesh up PRESET --simulate`: a preset's own schedule, from its first step to its table and curves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from areal_mesh.runtime.settings import load_settings, preset_names
from areal_mesh.runtime.settings.files import PRESETS_VARIABLE, presets_folder

SECONDS = 600.0
SHORT = [f"--set=stages.{stage}.max_steps={steps}" for stage, steps in enumerate((3, 2, 2))]
WHOLE = os.environ.get("AREAL_MESH_TEST_PRESETS") == "1"


def simulated(folder: Path, preset: str, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "areal_mesh.cli", "up", preset, "--simulate", *more]
    environment = os.environ | {PRESETS_VARIABLE: str(presets_folder().resolve())}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def check_run(folder: Path, preset: str, steps: list[int], said: str) -> None:
    settings = load_settings(preset)
    run = folder / "runs" / f"{settings.name}-simulated"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    names = [plan.name for plan in settings.stages]
    assert [sum(row["stage_name"] == name for row in rows) for name in names] == steps
    for plan in settings.stages:
        assert f"stage {plan.name}" in said
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["steps"] == sum(steps)
    assert (run / "plots" / "curves.png").stat().st_size > 10_000
    assert max(int(age) for row in rows for age in row["staleness"]) <= settings.algorithm.max_staleness


def test_a_preset_walks_through_its_stages_twice_and_leaves_other_runs_alone(tmp_path: Path) -> None:
    preset = "zero-7b-16node-async"
    for _ in range(2):
        done = simulated(tmp_path, preset, *SHORT, "--set=algorithm.batch_groups=16")
        assert done.returncode == 0, done.stderr
        check_run(tmp_path, preset, [3, 2, 2], done.stdout)
    assert "12 simulated generators and a simulated learner, 7 steps" in done.stderr
    mine = tmp_path / "runs" / "trial-simulated"
    mine.mkdir()
    (mine / "notes").write_text("mine", encoding="utf-8")
    refused = simulated(tmp_path, "trial")
    assert refused.returncode == 1
    assert "holds what no simulation left" in refused.stderr
    assert (mine / "notes").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(not WHOLE, reason="a minute and more for each preset: make test-presets")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_walks_through_its_whole_schedule(preset: str, tmp_path: Path) -> None:
    done = simulated(tmp_path, preset)
    assert done.returncode == 0, done.stderr
    check_run(tmp_path, preset, [plan.max_steps for plan in load_settings(preset).stages], done.stdout)
    print(preset, done.stderr.splitlines()[0], sep=": ")
