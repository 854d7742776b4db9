"""A fresh clone, set up and run in the environments that users have. Many minutes; `make test-environments` runs it.

What is said about a bare environment is tested by every mesh of these tests too (`bare_environment`), on this checkout.
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.bare_environment import PROXIES, bare_environment, tools_without_compilers
from tests.e2e.whole_mesh import read_json

ROOT = Path(__file__).resolve().parents[2]
ASKED = "AREAL_MESH_TEST_ENVIRONMENTS"
SETUP_SECONDS, TRIAL_SECONDS, SHORT_SECONDS = 1_500.0, 1_500.0, 400.0
# Where packages are to be had on this machine; an environment without it would ask nobody.
NETWORK = ("PIP_", "UV_", "SSL_CERT")

pytestmark = [
    pytest.mark.timeout(SETUP_SECONDS + TRIAL_SECONDS),
    pytest.mark.skipif(ASKED not in os.environ, reason="a fresh clone is set up and run by `make test-environments`"),
]


def network() -> dict[str, str]:
    """What tells pip and uv where packages are; what pip's own files say of wheel folders as well."""
    given = {name: value for name, value in os.environ.items() if name.startswith(NETWORK)}
    ask = ["python3", "-m", "pip", "config", "get", "global.find-links"]
    found = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False)
    return ({"PIP_FIND_LINKS": found.stdout.strip()} if found.returncode == 0 else {}) | given


def run(folder: Path, environment: Mapping[str, str], seconds: float, *command: str) -> str:
    """What a command says in the clone, with this environment and no more; fails if the command does."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, timeout=seconds, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{said[-6000:]}"
    print(f"\n  {' '.join(command)}: {time.monotonic() - began:.0f} s", flush=True)
    return said


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The barest environment; a Python that is not 3.11 is the only one on its PATH, if this machine has another."""
    tools = tools_without_compilers(tmp_path_factory.mktemp("tools") / "bin", Path("/usr/bin/python3").resolve())
    return bare_environment(tools)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, bare: Mapping[str, str]) -> Path:
    """A fresh clone in a path with a space, set up; the proxies stay out, for packages come from elsewhere."""
    folder = tmp_path_factory.mktemp("a path with") / "some spaces"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, timeout=60)
    reachable = {name: value for name, value in bare.items() if name not in PROXIES} | network()
    run(folder, reachable, SETUP_SECONDS, "make", "setup")
    return folder


def test_make_trial_runs_in_the_barest_environment_of_all(clone: Path, bare: Mapping[str, str]) -> None:
    said = run(clone, bare, TRIAL_SECONDS, "make", "trial")
    summary = read_json(clone / "runs" / "trial" / "summary.json")
    assert summary["finished"]
    assert summary["stages"][-1]["reward"]["last"] > 2.5
    assert said.count("tokens trained") == 1


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/tmp"},
        {"TERM": "dumb"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1"},
        PROXIES,
    ],
    ids=["env -i", "TERM=dumb", "LC_ALL=C", "latin-1", "proxies"],
)
def test_a_run_is_the_same_with_each_by_itself(
    clone: Path, bare: Mapping[str, str], environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    alone = {"HOME": "/tmp"} | dict(environment)
    name = f"n{abs(hash(request.node.name)) % 10_000}"
    command = (".venv/bin/areal-mesh", "up", "trial-short", "--fresh", "--set", f"name={name}")
    said = run(clone, alone, SHORT_SECONDS, *command)
    assert read_json(clone / "runs" / name / "summary.json")["finished"]
    assert "step 6/6" in said


def test_python3_is_the_only_python_on_the_path(clone: Path, bare: Mapping[str, str]) -> None:
    pythons = [path.name for path in Path(bare["PATH"]).iterdir() if re.fullmatch(r"python[\d.]*", path.name)]
    assert pythons == ["python3"]
    version = run(clone, bare, 60, ".venv/bin/python", "--version")
    assert version.startswith("Python 3.11.")
