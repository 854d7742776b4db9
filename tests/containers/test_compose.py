"""`docker compose up` of a clean checkout, in a real engine. Minutes; `make test-compose` runs it."""

import http.client
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.compose_project import NAME, SERVICES, Project, build_arguments, docker, engine_missing

ROOT = Path(__file__).resolve().parents[2]
ASKED = "AREAL_MESH_TEST_COMPOSE"
MOST_BYTES = {
    "client": 250_000_000,
    "replay": 280_000_000,
    "controller": 500_000_000,
    "verifier": 350_000_000,
    "page": 400_000_000,
    "generator": 2_500_000_000,
    "learner": 2_500_000_000,
}
TARGETS = tuple(MOST_BYTES)
BESIDE = ("prepare", "files", "page")
PAGE = "http://127.0.0.1:7420/"
RESTART_ENGINE = os.environ.get("AREAL_MESH_RESTART_ENGINE", "")
PROMETHEUS = os.environ.get("AREAL_MESH_PROMETHEUS", "")
CUT_SECONDS = 20.0
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
    project.compose("--profile", "tools", "build", *build_arguments(), seconds=1_500)
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


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_what_its_service_needs_and_runs_as_nobody_special(project: Project, target: str) -> None:
    image = f"areal-mesh-{target}:latest"
    size = int(docker("image", "inspect", image, "--format", "{{.Size}}"))
    tell(f"image {target}: {size / 1e6:.0f} MB")
    assert size < MOST_BYTES[target]
    label = docker("image", "inspect", image, "--format", '{{index .Config.Labels "org.opencontainers.image.version"}}')
    assert label == "0.1.0"
    look = "test $(id -u) = 10001 && ! command -v cc gcc g++ c++ clang"
    docker("run", "--rm", "--read-only", "--entrypoint", "sh", image, "-c", look)
    found = "import importlib.util as u; print(u.find_spec('torch') is not None)"
    has_torch = docker("run", "--rm", "--read-only", "--entrypoint", "python", image, "-c", found)
    assert has_torch == str(target in ("generator", "learner"))


def test_up_runs_the_trial_to_its_end_and_leaves_its_files(project: Project) -> None:
    def look() -> None:
        """Figures come to ./runs while the run goes on, and its page shows it."""
        wait_for((project.folder / "runs" / "trial" / "metrics.jsonl").exists, TRIAL_SECONDS)
        wait_for(lambda: [(run["name"], run["goes_on"]) for run in shown_runs()] == [("trial", True)], 60.0)

    seconds = to_the_end(project, TRIAL_SECONDS, look)
    folder = project.folder / "runs" / "trial"
    assert folder.stat().st_uid == project.folder.stat().st_uid
    summary = json.loads((folder / "summary.json").read_text())
    first, last = summary["stages"][0]["reward"]["first"], summary["stages"][-1]["reward"]["last"]
    tell(f"up: {seconds:.0f} s, reward {first:+.2f} to {last:+.2f}, mismatch KL {summary['mismatch_kl']:.1e}")
    assert project.exit_codes() == dict.fromkeys((*BESIDE, *SERVICES), 0)
    assert summary["finished"]
    assert last > 2.5 > 0 > first
    assert summary["mismatch_kl"] < 1e-9
    assert (folder / "plots" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events.*"))
    left = project.run("trial")
    for name in ("metrics.jsonl", "summary.json", "plots/curves.png"):
        assert (folder / name).read_bytes() == (left / name).read_bytes()
    said = project.said()
    assert said.count("tokens trained") == 1, "one table"
    noise = ("Traceback", "EngineDeadError", "mempolicy", "tcmalloc", "Triton is", "NUMA binding")
    assert not [line for line in said.splitlines() if any(word in line for word in noise)]


def test_up_of_a_finished_run_shows_its_table_and_ends(project: Project) -> None:
    seconds = to_the_end(project, 60.0)
    tell(f"up again: {seconds:.1f} s")
    assert project.exit_codes() == dict.fromkeys((*BESIDE, *SERVICES), 0)
    assert project.said().count("tokens trained") == 1
    assert "Traceback" not in project.said()
    # Its own controller has to be found healthy first.
    assert seconds < 40


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
    assert short.exit_codes() == dict.fromkeys((*BESIDE, *SERVICES), 0)
    summary = json.loads((project.run(name) / "summary.json").read_text())
    assert summary["finished"]
    assert summary["steps"] == LAST_STEP
    assert all(summary["service_starts"][service] >= 2 for service in summary["service_starts"])


@pytest.mark.skipif(not RESTART_ENGINE, reason="AREAL_MESH_RESTART_ENGINE names no command that restarts this engine")
def test_a_run_goes_on_after_the_engine_was_restarted(project: Project) -> None:
    """As after a reboot: all containers end at once; the same command goes on with the run."""
    run = Project(project.folder, (*SHORT, "name=restarted"))
    up = run.begin()
    wait_for(lambda: run.up_to("restarted", 6), SHORT_SECONDS)
    subprocess.run(RESTART_ENGINE, shell=True, check=True, timeout=120)
    up.wait(timeout=60)
    before = run.steps("restarted")
    seconds = to_the_end(run, SHORT_SECONDS)
    tell(f"engine restarted after step {before} of {LAST_STEP}: {seconds:.0f} s to the end")
    assert run.exit_codes() == dict.fromkeys((*BESIDE, *SERVICES), 0)
    summary = json.loads((run.run("restarted") / "summary.json").read_text())
    assert summary["finished"]
    assert summary["steps"] == LAST_STEP > before
    groups = summary["groups"]
    assert groups["trained"] == LAST_STEP * 8


@pytest.mark.skipif(not PROMETHEUS, reason="AREAL_MESH_PROMETHEUS names no image of Prometheus for this engine")
def test_two_generators_are_scraped_and_one_that_was_cut_off_comes_back(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_IMAGE", PROMETHEUS)
    two = Project(project.folder, ("name=two", "algorithm.batch_groups=8"))
    began = time.monotonic()
    two.compose("up", "--wait", "--scale", "generator=2", *SERVICES, "prometheus", seconds=300)
    tell(f"up --wait with two generators and Prometheus: {time.monotonic() - began:.0f} s")
    try:
        wait_for(lambda: serving(two) == 2, 120)
        wait_for(lambda: len(scraped(two)) == len(SERVICES) + 1, 60)
        assert set(scraped(two).values()) == {"1"}
        cut = two.containers("generator")[0]
        docker("network", "disconnect", f"{NAME}_default", cut)
        wait_for(lambda: serving(two) == 1, CUT_SECONDS)
        steps = two.status()["step"]
        docker("network", "connect", f"{NAME}_default", cut)
        wait_for(lambda: serving(two) == 2, 120)
        wait_for(lambda: two.status()["step"] > steps, 60)
        two.compose("run", "--rm", "status", "stop")
        wait_for(lambda: set(two.states().values()) == {"exited"}, 120)
    finally:
        two.compose("--profile", "*", "down", "--timeout", "5")


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.5)


def shown_runs() -> list[dict[str, Any]]:
    """The runs that the page shows; none while it does not answer."""
    try:
        with urllib.request.urlopen(PAGE + "api/runs", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found
    except (OSError, http.client.HTTPException):
        return []


def serving(project: Project) -> int:
    """Generators that serve, as the controller says."""
    members = project.status()["services"]
    return sum(member["role"] == "generator" and member["state"] == "serving" for member in members)


def scraped(project: Project) -> dict[str, str]:
    """`up` of each target that the real Prometheus has, by instance."""
    url = "http://127.0.0.1:9090/api/v1/query?query=up"
    with urllib.request.urlopen(url, timeout=10) as page:
        found = json.load(page)["data"]["result"]
    return {result["metric"]["instance"]: result["value"][1] for result in found}
