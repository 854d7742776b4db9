"""`deploy/slurm/areal-mesh.sbatch` by the real Slurm with 16 virtual nodes; `make test-slurm` runs it.

What runs where is planned by the real command; services are simulated: each says where it runs with which GPUs, and
waits to be told to drain. The controller counts steps in the run's directory, and ends the run after some.
"""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.slurm_cluster import GPUS, Cluster, cluster, missing, wait_for

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "slurm" / "areal-mesh.sbatch"
NODES = 16
STEPS = 60
SERVICES = 11
"""On four nodes."""
SECONDS = 90.0
ASKED = "AREAL_MESH_TEST_SLURM"
SERVICE = """#!{python}
import os, signal, subprocess, sys, time
if sys.argv[1] != "serve":
    os.execv(sys.executable, [sys.executable, "-m", "areal_mesh.cli", *sys.argv[1:]])
role, words = sys.argv[2], sys.argv[3:]
name = words[words.index("--service-id") + 1]
sets = dict(word.partition("=")[::2] for word in words if "=" in word)
draining = []
signal.signal(signal.SIGTERM, lambda *_: draining.append(1))
log = open(sets["directory"] + "/log", "a", buffering=1)
node = os.environ["SLURMD_NODENAME"]
print("start", node, role, name, sets.get(role + ".gpus", "-"), file=log)
steps = sets["directory"] + "/steps"
while not draining:
    time.sleep(0.1)
    if role == "controller":
        with open(steps, "a") as file:
            file.write("x")
        if os.path.getsize(steps) >= {steps}:
            break
print("end", node, role, name, "drained" if draining else "done", file=log)
"""

pytestmark = [pytest.mark.timeout(600)]
if ASKED not in os.environ:
    pytestmark.append(pytest.mark.skip(reason="Slurm: run by `make test-slurm`, which needs slurm-wlm and root"))
elif lacking := missing():
    pytestmark.append(pytest.mark.skip(reason=f"Slurm: {lacking}"))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm"), NODES) as running:
        yield running


def submit(slurm: Cluster, folder: Path, nodes: int, steps: int = STEPS) -> str:
    """Submits the script for so many nodes; the job's id."""
    program = folder / ".venv" / "bin" / "areal-mesh"
    program.parent.mkdir(parents=True)
    program.write_text(SERVICE.format(python=sys.executable, steps=steps))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "runs").mkdir()
    own = f"ALL,AREAL_MESH_CONFIG=distill-1.5b-1node,AREAL_MESH_HOME={folder},AREAL_MESH_GPUS_PER_NODE={GPUS}"
    sizes = [f"--nodes={nodes}", f"--gpus-per-node={GPUS}", f"--output={folder}/out"]
    return slurm.run("sbatch", "--parsable", f"--export={own}", *sizes, str(SCRIPT))


def said(folder: Path, word: str) -> list[list[str]]:
    """Lines of the services' log that begin so: node, role, name, and the rest."""
    log = folder / "runs" / "log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [line[1:] for line in lines if line[0] == word]


def output(folder: Path) -> str:
    return (folder / "out").read_text()[-3000:] if (folder / "out").exists() else "no output"


@pytest.mark.parametrize(("nodes", "engines", "verifiers"), [(1, 1, 1), (4, 7, 1), (16, 31, 4)])
def test_every_service_starts_where_it_belongs_and_the_job_ends_with_the_run(
    slurm: Cluster, tmp_path: Path, nodes: int, engines: int, verifiers: int
) -> None:
    job = submit(slurm, tmp_path, nodes)
    wait_for(lambda: slurm.state(job) not in ("PENDING", "RUNNING", "COMPLETING"), SECONDS, lambda: output(tmp_path))
    assert slurm.state(job) == "COMPLETED", output(tmp_path)
    started = said(tmp_path, "start")
    by_role = {role: [line for line in started if line[1] == role] for role in {line[1] for line in started}}
    assert {role: len(lines) for role, lines in by_role.items()} == {
        "controller": 1,
        "replay": 1,
        "verifier": verifiers,
        "learner": 1,
        "generator": engines,
    }
    assert by_role["controller"][0][0] == by_role["replay"][0][0] == "node1"
    assert (by_role["learner"][0][0], by_role["learner"][0][3]) == (f"node{nodes}", "[4,5,6,7]")
    assert {line[0] for line in by_role["generator"]} == {f"node{number}" for number in range(1, nodes + 1)}
    assert {line[3] for line in by_role["generator"]} <= {"[0,1,2,3]", "[4,5,6,7]"}
    assert {line[3] for line in by_role["verifier"] + by_role["controller"]} == {"-"}
    assert len(said(tmp_path, "end")) == len(started)


@pytest.mark.parametrize("how", ["requeue", "node down", "time is up"])
def test_a_job_that_is_requeued_goes_on_in_its_directory(slurm: Cluster, tmp_path: Path, how: str) -> None:
    steps = tmp_path / "runs" / "steps"
    job = submit(slurm, tmp_path, 4, steps=150)
    wait_for(lambda: len(said(tmp_path, "start")) == SERVICES, SECONDS, lambda: output(tmp_path))
    lost = said(tmp_path, "start")[-1][0]
    if how == "requeue":
        slurm.run("scontrol", "requeue", job)
    elif how == "node down":
        slurm.run("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=test")
    else:
        slurm.run("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: len(said(tmp_path, "start")) >= 2 * SERVICES, 300, lambda: output(tmp_path))
    done = steps.stat().st_size
    wait_for(lambda: slurm.state(job) == "COMPLETED", SECONDS, lambda: output(tmp_path))
    assert 0 < done <= steps.stat().st_size
    ends = [line for line in said(tmp_path, "end") if line[1] == "controller"]
    assert ends[-1][3] == "done"
    if how == "time is up":
        assert [line[3] for line in said(tmp_path, "end")].count("drained") >= SERVICES
