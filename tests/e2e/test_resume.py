"""Ctrl-C drains a run, and the same command goes on with it: no step is taken twice, no group is lost.

It goes on with another learning rate and one step more, which the ledger keeps.
"""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.whole_mesh import assert_sums_hold, read_json, started, wait_for_step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
OVERRIDES = ("name=resumed", "controller.listen=127.0.0.1:7457", "stages.0.max_steps=5", "stages.1.max_steps=5")


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    run = tmp_path / "resumed"
    with started("trial-short", tmp_path, *OVERRIDES) as launcher:
        wait_for_step(launcher, 2)
        launcher.send_signal(signal.SIGINT)
        output, _ = launcher.communicate(timeout=120)
        assert launcher.returncode == 130, output
    before = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert 2 <= len(before) < 10
    others = ("learner.learning_rate=1e-4", "stages.1.max_steps=6")
    with started("trial-short", tmp_path, *OVERRIDES, *others) as launcher:
        output, _ = launcher.communicate(timeout=400)
        assert launcher.returncode == 0, output
    assert f"from step {len(before) + 1} on, learner.learning_rate = 0.0001 (was 0.00025)" in output
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == list(range(1, 12))
    assert steps[: len(before)] == before, "what was done stays as it was"
    summary = read_json(run / "summary.json")
    assert summary["steps"] == 11
    assert summary["groups"]["trained"] == 44
    with closing(sqlite3.connect(run / "ledger.db")) as ledger:
        [(history,)] = ledger.execute("SELECT value FROM meta WHERE key = 'settings_changes'")
    kept = {change["key"]: (change["from_step"], change["now"]) for change in json.loads(history)}
    assert kept == {"learner.learning_rate": (len(before) + 1, 1e-4), "stages.1.max_steps": (len(before) + 1, 6)}
    assert set(summary["checksums"]) == {"agreed"}
    assert_sums_hold(summary)
