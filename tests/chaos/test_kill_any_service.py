"""kill -9 of each service in turn, in the middle of a real run: it is started again and the run still finishes."""

from pathlib import Path

import pytest

from tests.e2e.whole_mesh import ROLES, assert_sums_hold, read_json, service_process, started, wait_for_step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_run_finishes_after_a_kill_of_each_service(tmp_path: Path) -> None:
    stages = ("stages.0.max_steps=8", "stages.1.max_steps=7")
    overrides = ("name=chaos", "algorithm.temperature=0.6", "controller.listen=127.0.0.1:7456", *stages)
    with started("trial-short", tmp_path, *overrides) as launcher:
        for step, role in zip((1, 3, 5, 7, 9), ROLES, strict=True):
            wait_for_step(launcher, step)
            service_process(launcher.pid, role).kill()
        rest, _ = launcher.communicate(timeout=600)
        assert launcher.returncode == 0, rest
    summary = read_json(tmp_path / "chaos" / "summary.json")
    assert summary["steps"] == 15
    assert summary["staleness"]["max"] <= 1
    assert set(summary["checksums"]) == {"agreed"}
    assert summary["mismatch_kl"] < 0.01, "at a temperature other than 1 too"
    assert_sums_hold(summary)
