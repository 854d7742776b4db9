"""A short real run: five processes, vLLM, Gloo, six steps over a stage change; asked for its status meanwhile."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.whole_mesh import assert_sums_hold, read_json, started, wait_for_step
from tests.readme import ROOT, STATUS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the short trial, with the status that it gave after its first step."""
    directory = tmp_path_factory.mktemp("runs")
    with started("trial-short", directory, "controller.listen=127.0.0.1:7455") as launcher:
        wait_for_step(launcher, 1)
        begun = time.monotonic()
        answer = subprocess.run(
            [*STATUS.split(), "--json", "--controller", "127.0.0.1:7455"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        seconds = time.monotonic() - begun
        rest, _ = launcher.communicate(timeout=500)
        assert launcher.returncode == 0, rest
    run = directory / "trial-short"
    (run / "status.json").write_text(json.dumps({"seconds": seconds, "status": json.loads(answer.stdout)}))
    return run


def test_every_step_of_both_stages_is_taken(run_directory: Path) -> None:
    summary = read_json(run_directory / "summary.json")
    assert summary["steps"] == 6
    assert summary["policy_version"] == 6
    assert [stage["steps"] for stage in summary["stages"]] == [3, 3]
    assert len((run_directory / "metrics.jsonl").read_text().splitlines()) == 6


def test_every_policy_version_is_published_with_equal_checksums(run_directory: Path) -> None:
    summary = read_json(run_directory / "summary.json")
    assert summary["versions_published"] == 7
    assert set(summary["checksums"]) == {"agreed"}
    assert summary["pause_seconds"] > 0


def test_staleness_is_never_over_the_bound_and_every_group_has_one_end(run_directory: Path) -> None:
    summary = read_json(run_directory / "summary.json")
    assert summary["staleness"]["max"] <= 1
    assert summary["groups"]["trained"] == 24
    assert_sums_hold(summary)


def test_behaviour_log_probabilities_are_the_learners(run_directory: Path) -> None:
    assert read_json(run_directory / "summary.json")["mismatch_kl"] < 0.01


def test_the_second_stage_allows_longer_responses(run_directory: Path) -> None:
    steps = [json.loads(line) for line in (run_directory / "metrics.jsonl").read_text().splitlines()]
    assert [step["stage"] for step in steps] == [0, 0, 0, 1, 1, 1]
    summary = read_json(run_directory / "summary.json")
    first, second = summary["stages"]
    assert second["max_response_tokens"] == 2 * first["max_response_tokens"]


def test_generation_and_updates_overlapped(run_directory: Path) -> None:
    assert read_json(run_directory / "summary.json")["overlap_seconds"] > 0


def test_plots_and_events_and_export_are_left(run_directory: Path) -> None:
    assert (run_directory / "plots" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((run_directory / "tensorboard").glob("events.*"))
    assert (run_directory / "checkpoints" / "export-00000006" / "model.safetensors").is_file()


def test_the_export_loads_in_transformers(run_directory: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="install areal-mesh[learner]")
    model = transformers.AutoModelForCausalLM.from_pretrained(run_directory / "checkpoints" / "export-00000006")
    assert model.num_parameters() > 100_000


def test_status_answered_while_the_run_went_on(run_directory: Path) -> None:
    asked = read_json(run_directory / "status.json")
    status = asked["status"]
    assert asked["seconds"] < 10  # the process, its imports and a busy machine; the call itself is milliseconds
    assert status["run_name"] == "trial-short"
    assert status["step"] >= 1
    assert {service["role"] for service in status["services"]} >= {"generator", "learner", "replay", "verifier"}


def test_started_again_a_finished_run_says_so(run_directory: Path) -> None:
    with started("trial-short", run_directory.parent, "controller.listen=127.0.0.1:7455") as launcher:
        output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, output
    assert "finished" in output
