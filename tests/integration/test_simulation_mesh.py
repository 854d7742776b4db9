"""`areal-mesh simulate`: the real controller and replay buffer go through a whole run of simulated members."""

import json
import subprocess
import sys

import pytest

SECONDS = 110.0


def simulated(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "areal_mesh.cli", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_a_small_cluster_goes_through_its_steps_and_says_what_came_of_it() -> None:
    plan = ("--generators", "3", "--batch-groups", "4", "--responses", "4", "--groups-in-flight", "4")
    run = simulated(*plan, "--steps", "6", "--max-staleness", "1", "--speed", "2000", "--progress", "0.5", "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["steps"] == 6
    assert found["groups_trained"] == 24
    assert found["max_staleness"] <= 1
    assert found["controller_mb"] > 10
    assert "step 6/6" in run.stderr.splitlines()[-1]
    assert 0.3 < found["trained_response_tokens"] / found["leased_response_tokens"] < 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--generators", "0"), "--generators: 0 is out of range: 1 to 4000"),
        (("--step-seconds", "nan"), "--step-seconds: nan is out of range"),
        (("--speed", "fast"), "--speed: 'fast' is no number"),
        (("--median-length", "9000", "--limit", "8192"), "--median-length 9000 is over --limit 8192"),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_its_option(arguments: tuple[str, ...], said: str) -> None:
    run = simulated(*arguments)
    assert run.returncode == 2
    assert said in run.stderr
    assert not run.stdout
