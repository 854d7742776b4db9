"""A short real run in float16: learner and vLLM hold the same weights, and the loss scale finds its place."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.whole_mesh import COMMAND, read_json, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# High enough that the first updates overflow, and low enough that the later ones do not.
INITIAL = 2.0**24


def test_a_float16_run_agrees_with_its_engine_and_finds_its_loss_scale(tmp_path: Path) -> None:
    scale = f"learner.loss_scale.initial={INITIAL}"
    # Of four groups some say nothing: by responses there are four updates a step for the scale to come down in.
    overrides = ("model.dtype=float16", scale, "algorithm.minibatch_by=response", "controller.listen=127.0.0.1:7454")
    with started("trial-short", tmp_path, *overrides) as launcher:
        output, _ = launcher.communicate(timeout=500)
        assert launcher.returncode == 0, output
    run = tmp_path / "trial-short"
    summary = read_json(run / "summary.json")
    assert (summary["steps"], summary["versions_published"]) == (6, 7)
    assert set(summary["checksums"]) == {"agreed"}
    assert summary["mismatch_kl"] < 1e-3
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps[0]["skipped_updates"] > 0
    assert 0 < steps[-1]["loss_scale"] < INITIAL
    assert sum(step["optimizer_updates"] for step in steps) > 0
    assert read_json(run / "checkpoints" / "export-00000006" / "config.json")["dtype"] == "float16"
    replayed = subprocess.run(
        [str(COMMAND), "log", "replay", "--run", str(run)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "equal to the replay's bit for bit" in replayed.stdout, replayed.stdout + replayed.stderr
