"""`docker compose up` of a clean checkout, in a real engine. Minutes; `make test-compose` runs it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.containers.compose_project import SERVICES, Project, build_arguments, engine_missing

ROOT = Path(__file__).resolve().parents[2]
ASKED = "AREAL_MESH_TEST_COMPOSE"
MOST_BYTES = 2_500_000_000
TRIAL_SECONDS = 1_500.0
SHORT_SECONDS = 600.0
SHORT = ("stages.0.max_steps=8", "stages.1.max_steps=8", "stages.2.max_steps=8", "algorithm.batch_groups=8")
# Not all at once: what one kill breaks is to be mended before the next.
ORDER = ("verifier", "replay", "controller", "learner", "generator")
LAST_STEP = 24

pytestmark = [pytest.mark.timeout(TRIAL_SECONDS + SHORT_SECONDS)]
if ASKED not in os.environ:
    pytestmark.append(pytest.mark.skip(reason="containers: run by `make test-compose`, which needs a Docker Engine"))
elif missing := engine_missing():
    pytestmark.append(pytest.mark.skip(reason=f"containers: {missing}"))


def tell(what: str) -> None:
    """A figure, for whoever reads the test's output."""
    print(f"\n  {what}", flush=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A clean checkout, built."""
    folder = tmp_path_factory.mktemp("areal-mesh")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, timeout=60)
    project = Project(folder)
    began = time.monotonic()
    project.compose("build", *build_arguments(), seconds=1_500)
    tell(f"built in {time.monotonic() - began:.0f} s")
    yield project
    project.compose("down", "--volumes", "--timeout", "5")


def to_the_end(project: Project, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> float:
    """`docker compose up` until it ends by itself; how long it took."""
    up = project.begin()
    try:
        meanwhile()
        assert up.wait(timeout=seconds) == 0, project.said()[-6000:]
    finally:
        if up.poll() is None:
            project.compose("kill")
            up.wait(timeout=60)
    return time.monotonic() - project.started


def test_the_image_is_small_and_holds_no_compiler(project: Project) -> None:
    inspect = ["docker", "image", "inspect", "areal-mesh:latest", "--format", "{{.Size}}"]
    size = int(subprocess.run(inspect, capture_output=True, text=True, check=True, timeout=30).stdout)
    tell(f"image: {size / 1e9:.2f} GB")
    look = "! command -v cc gcc g++ c++ clang"
    run = ["docker", "run", "--rm", "--entrypoint", "sh", "areal-mesh:latest", "-c", look]
    subprocess.run(run, check=True, timeout=60)
    assert size < MOST_BYTES


def test_up_runs_the_trial_to_its_end_and_leaves_its_files(project: Project) -> None:
    seconds = to_the_end(project, TRIAL_SECONDS)
    folder = project.folder / "runs" / "trial"
    summary = json.loads((folder / "summary.json").read_text())
    first, last = summary["stages"][0]["reward"]["first"], summary["stages"][-1]["reward"]["last"]
    tell(f"up: {seconds:.0f} s, reward {first:+.2f} to {last:+.2f}, mismatch KL {summary['mismatch_kl']:.1e}")
    assert project.exit_codes() == dict.fromkeys(("prepare", *SERVICES), 0)
    assert summary["finished"]
    assert last > 2.5 > 0 > first
    assert summary["mismatch_kl"] < 1e-9
    assert (folder / "plots" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events.*"))
    said = project.said()
    assert said.count("tokens trained") == 1, "one table"
    noise = ("Traceback", "EngineDeadError", "mempolicy", "tcmalloc", "Triton is", "NUMA binding")
    assert not [line for line in said.splitlines() if any(word in line for word in noise)]


def test_up_of_a_finished_run_shows_its_table_and_ends(project: Project) -> None:
    seconds = to_the_end(project, 60.0)
    tell(f"up again: {seconds:.1f} s")
    assert project.exit_codes() == dict.fromkeys(("prepare", *SERVICES), 0)
    assert project.said().count("tokens trained") == 1
    assert "Traceback" not in project.said()
    assert seconds < 10


@pytest.mark.parametrize(("name", "first"), [("middle", 3), ("end", LAST_STEP - 5)])
def test_a_run_ends_all_the_same_when_any_process_is_killed(project: Project, name: str, first: int) -> None:
    short = Project(project.folder, (*SHORT, f"name={name}"))

    def kill_each() -> None:
        deadline = time.monotonic() + SHORT_SECONDS
        for step, service in enumerate(ORDER, first):
            while short.steps(name) < step:
                assert time.monotonic() < deadline, short.said()[-6000:]
                time.sleep(0.1)
            short.kill(service)

    seconds = to_the_end(short, SHORT_SECONDS, kill_each)
    tell(f"each process killed once from step {first} of {LAST_STEP}: {seconds:.0f} s to the end")
    assert short.exit_codes() == dict.fromkeys(("prepare", *SERVICES), 0)
    summary = json.loads((project.folder / "runs" / name / "summary.json").read_text())
    assert summary["finished"]
    assert summary["steps"] == LAST_STEP
    assert all(summary["service_starts"][service] >= 2 for service in summary["service_starts"])
