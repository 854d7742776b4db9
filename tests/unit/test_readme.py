"""Every command in the README is run: the quick ones here, the long ones as far as `make` would go about them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from areal_mesh.runtime.settings import load_settings
from tests.readme import COMMANDS, README, ROOT, STATUS

WITH_A_MESH = {STATUS}
LONG = {command for command in COMMANDS if command.startswith("make ")}
NEEDS_GPUS = {command for command in COMMANDS if " up distill" in command}
QUICK = [command for command in COMMANDS if command not in WITH_A_MESH | LONG | NEEDS_GPUS]


def test_the_readme_names_its_two_commands() -> None:
    assert {"make trial", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", QUICK)
def test_a_quick_command_succeeds(command: str) -> None:
    done = subprocess.run(command.split(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", sorted(LONG))
def test_make_knows_what_to_do_for_a_long_command(command: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ".venv/bin/" in done.stdout


@pytest.mark.parametrize("command", sorted(NEEDS_GPUS))
def test_a_command_for_gpus_resolves(command: str) -> None:
    words = command.split()
    overrides = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
    assert load_settings(words[2], overrides).learner.device == "cuda"


def test_the_status_command_is_the_one_that_the_end_to_end_test_runs() -> None:
    assert set(COMMANDS) >= WITH_A_MESH


def test_every_file_the_readme_links_exists() -> None:
    missing = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not (ROOT / link).exists()]
    assert not missing


RESULTS = re.findall(r"^\| (.*\]\((benchmarks/results/[^)]+)\)) \|$", README, re.MULTILINE)


def test_the_readme_says_the_results_that_are_kept() -> None:
    kept = {str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks" / "results").glob("*.txt")}
    assert {file for _, file in RESULTS} == kept


@pytest.mark.parametrize(("row", "file"), [pytest.param(row, file, id=Path(file).stem) for row, file in RESULTS])
def test_every_figure_of_a_result_stands_in_the_file_that_it_is_kept_in(row: str, file: str) -> None:
    said = re.findall(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?", row.split(" | ")[1])
    kept = set(re.findall(r"[+-]?\d+(?:\.\d+)?", (ROOT / file).read_text(encoding="utf-8").replace(",", "")))
    assert said
    assert [figure for figure in said if figure.replace(",", "") not in kept] == []


def test_the_compose_file_is_valid() -> None:
    if shutil.which("docker") is None:
        pytest.skip("install docker and its compose plugin to check docker-compose.yml")
    version = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=False)
    if version.returncode != 0:
        pytest.skip("install docker's compose plugin to check docker-compose.yml")
    done = subprocess.run(
        ["docker", "compose", "config", "--services"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) >= {"controller", "generator", "verifier", "replay", "learner"}
