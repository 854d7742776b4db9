"""`deploy/systemd` under a real systemd: units are up when their services serve, are watched, and drain.

`make test-systemd` runs it, as root.
"""

import json
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.systemd_machine import ROLES, Machine, machine, missing, wait_for

ASKED = "AREAL_MESH_TEST_SYSTEMD"
SECONDS = 60.0
RUN = """
extends = "trial"
name = "units"
directory = "/var/lib/areal-mesh/runs"

[prompts]
file = "/etc/areal-mesh/prompts.jsonl"
"""

pytestmark = [pytest.mark.timeout(300)]
if ASKED not in os.environ:
    pytestmark.append(pytest.mark.skip(reason="systemd: run by `make test-systemd`, as root"))
elif lacking := missing():
    pytestmark.append(pytest.mark.skip(reason=f"systemd: {lacking}"))


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Controller, replay buffer and verifier, started by systemd; the generator's settings do not hold."""
    problem = json.dumps({"id": "1", "problem": "1 + 1", "answer": "2"})
    own = "AREAL_MESH_CONFIG=/etc/areal-mesh/{name}.toml\nAREAL_MESH_CONTROLLER=127.0.0.1:7400\n"
    files = [("run.toml", RUN), ("wrong.toml", 'extends = "trial"\nno_such_key = 1\n'), ("prompts.jsonl", problem)]
    files += [(f"{role}.env", own.format(name="run")) for role in ROLES]
    files += [("generator.env", own.format(name="wrong"))]
    folder = tmp_path_factory.mktemp("systemd")
    with machine(folder, Path(sysconfig.get_paths()["purelib"]), files) as running:
        # Returns once each service has said that it is ready.
        running.run("systemctl", "start", *(f"areal-mesh@{role}" for role in ROLES))
        yield running


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_is_up_once_its_service_serves_and_runs_as_nobody_special(units: Machine, role: str) -> None:
    assert (units.show(role, "ActiveState"), units.show(role, "Type")) == ("active", "notify")
    wait_for(lambda: units.show(role, "StatusText").startswith("policy version"), SECONDS)
    status = units.run("cat", f"/proc/{units.show(role, 'MainPID')}/status")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert fields["Uid"].split()[0] == "10001"
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"


def test_a_service_whose_loop_is_silent_is_killed_and_started_again(units: Machine) -> None:
    before = units.show("replay", "MainPID")
    units.run("kill", "-STOP", before)
    wait_for(lambda: units.show("replay", "NRestarts") == "1", SECONDS)
    wait_for(lambda: units.show("replay", "SubState") == "running", SECONDS)
    assert units.show("replay", "MainPID") not in (before, "0")


def test_a_service_that_is_killed_is_started_again(units: Machine) -> None:
    units.run("kill", "-KILL", units.show("verifier", "MainPID"))
    wait_for(lambda: units.show("verifier", "NRestarts") == "1", SECONDS)
    wait_for(lambda: units.show("verifier", "SubState") == "running", SECONDS)


def test_one_that_cannot_start_is_left_alone(units: Machine) -> None:
    units.run("systemctl", "start", "areal-mesh@generator", check=False)
    wait_for(lambda: units.show("generator", "ActiveState") == "failed", SECONDS)
    assert (units.show("generator", "ExecMainStatus"), units.show("generator", "NRestarts")) == ("78", "0")


def test_stopped_a_service_drains_and_ends_well(units: Machine) -> None:
    units.run("systemctl", "stop", "areal-mesh@verifier", "areal-mesh@replay")
    for role in ("verifier", "replay"):
        assert (units.show(role, "Result"), units.show(role, "ExecMainStatus")) == ("success", "0")
