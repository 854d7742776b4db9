"""Which service runs where: the plan, Slurm's script by it, systemd's units and Kubernetes' manifests."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.cli.node_plan import ImpossiblePlan, node_plan
from areal_mesh.cli.render import KINDS
from areal_mesh.runtime.settings import RunSettings, load_settings

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "deploy" / "slurm" / "areal-mesh.sbatch"
SYSTEMD = ROOT / "deploy" / "systemd"
OVERLAYS = sorted((ROOT / "deploy" / "kubernetes" / "overlays").iterdir())
SIXTEEN = ROOT / "deploy" / "kubernetes" / "overlays" / "16-nodes"
MOST_EXPOSED = 40  # systemd-analyze counts in tenths


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"deploy files: needs {tool} ({package})")


def on_gpus(engine: int, ranks: int) -> RunSettings:
    sizes = [f"generator.data_parallel_size={engine}", f"learner.ranks={ranks}"]
    return load_settings("distill-1.5b-1node", [*sizes, "generator.gpus=none", "learner.gpus=none"])


@given(nodes=st.integers(1, 40), per_node=st.integers(1, 8), engine=st.integers(1, 8), ranks=st.integers(1, 8))
def test_no_gpu_is_given_twice_and_each_service_lies_on_one_node(
    nodes: int, per_node: int, engine: int, ranks: int
) -> None:
    try:
        plan = node_plan(on_gpus(engine, ranks), nodes, per_node)
    except ImpossiblePlan:
        assert max(engine, ranks) > per_node or (nodes == 1 and engine + ranks > per_node)
        return
    given_away = [(place.node, gpu) for place in plan for gpu in place.gpus]
    assert len(given_away) == len(set(given_away))
    assert all(0 <= node < nodes and 0 <= gpu < per_node for node, gpu in given_away)
    roles = Counter(place.role for place in plan)
    assert (roles["controller"], roles["replay"], roles["learner"]) == (1, 1, 1)
    assert len({(place.service_id, place.node_rank) for place in plan}) == len(plan)
    assert {place.node for place in plan if place.role in ("controller", "replay")} == {0}
    assert not any(place.gpus for place in plan if place.role not in ("generator", "learner"))
    left = nodes * (per_node // engine) - (per_node // engine) + (per_node - ranks) // engine
    assert roles["generator"] == left


def test_a_learner_over_several_nodes_takes_the_last_of_each_in_the_order_of_its_ranks() -> None:
    sizes = ["learner.hosts=2", "learner.ranks=8", "learner.rendezvous=a:1", "learner.gpus=none", "generator.gpus=none"]
    plan = node_plan(load_settings("distill-1.5b-1node", [*sizes, "generator.data_parallel_size=4"]), 3, 8)
    learners = [(place.node, place.node_rank, place.gpus) for place in plan if place.role == "learner"]
    assert learners == [(1, 0, (4, 5, 6, 7)), (2, 1, (4, 5, 6, 7))]
    engines = [(place.node, place.gpus[0]) for place in plan if place.role == "generator"]
    assert engines == [(0, 0), (0, 4), (1, 0), (2, 0)]
    with pytest.raises(ImpossiblePlan, match=r"learner\.hosts = 2 with 1 nodes"):
        node_plan(load_settings("distill-1.5b-1node", sizes), 1, 8)


def test_what_has_no_place_says_what_would_do() -> None:
    with pytest.raises(ImpossiblePlan, match=r"the learner takes 16 GPUs of one node, which has 8; lower "):
        node_plan(on_gpus(8, 16), 4, 8)
    with pytest.raises(ImpossiblePlan, match="take more nodes"):
        node_plan(on_gpus(8, 8), 1, 8)


@pytest.mark.parametrize(("nodes", "engines", "verifiers"), [(1, 1, 1), (4, 7, 1), (16, 31, 4)])
def test_slurms_script_starts_every_service_where_it_belongs(
    tmp_path: Path, nodes: int, engines: int, verifiers: int
) -> None:
    """srun and scontrol are simulated; each service ends at once, the controller once all were started."""
    home = tmp_path / "home"
    (home / ".venv" / "bin").mkdir(parents=True)
    program(home / ".venv/bin/areal-mesh", f'exec {sys.executable} -m areal_mesh.cli "$@"')
    program(tmp_path / "scontrol", f"for n in $(seq {nodes}); do echo node$n; done")
    program(tmp_path / "scancel", "true")
    all_of_them, started = 3 + engines + verifiers, tmp_path / "started"
    seen = f"[ $(wc -l <{started}) -ge {all_of_them} ]"
    waiting = f'case "$*" in *"serve controller"*) for n in $(seq 200); do {seen} && break; sleep 0.1; done ;; esac'
    program(tmp_path / "srun", f'printf "%s\\n" "$*" >>{started}\n{waiting}')
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "AREAL_MESH_CONFIG": "distill-1.5b-1node",
        "AREAL_MESH_HOME": str(home),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": f"node[1-{nodes}]",
        "AREAL_MESH_SETTINGS": "plaintext_beyond_loopback=true",
    }
    done = subprocess.run(["bash", str(SLURM)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    commands = [line.split() for line in started.read_text().splitlines()]
    roles = Counter(words[words.index("serve") + 1] for words in commands)
    assert roles == {"controller": 1, "replay": 1, "learner": 1, "verifier": verifiers, "generator": engines}
    for words in commands:
        role, node = words[words.index("serve") + 1], words[2].removeprefix("--nodelist=")
        assert f"{role}.advertise={node}" in words
        assert words[words.index("--controller") + 1] == "node1:7400"
        if role == "learner":
            assert node == f"node{nodes}"
            assert "learner.gpus=[4,5,6,7]" in words
        if role == "generator":
            assert {"generator.gpus=[0,1,2,3]", "generator.gpus=[4,5,6,7]"} & set(words)
        if role in ("controller", "verifier"):
            assert not any("gpus" in word for word in words)


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_slurms_script_reads_as_shell() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True, timeout=10)


@needs("shellcheck", "Debian: apt install shellcheck")
def test_shellcheck_has_nothing_to_say_of_the_scripts() -> None:
    done = subprocess.run(["shellcheck", str(SLURM)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they are installed, with a program that is there."""
    for path in SYSTEMD.rglob("*"):
        target = tmp_path / path.relative_to(SYSTEMD)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_text(path.read_text().replace("/opt/areal-mesh/.venv/bin/areal-mesh", "/bin/true"))
    return tmp_path


@needs("systemd-analyze", "Debian: apt install systemd")
@pytest.mark.parametrize("role", ["controller", "replay", "verifier", "generator", "learner"])
def test_systemd_takes_the_units_and_finds_them_little_exposed(units: Path, role: str) -> None:
    unit = units / f"areal-mesh@{role}.service"
    (units / "areal-mesh@.service").rename(unit)
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0, verified.stderr
    assert "Unknown" not in verified.stderr
    exposure = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit)]
    scored = subprocess.run(exposure, capture_output=True, text=True, timeout=60)
    assert scored.returncode == 0, scored.stdout[-300:]
    assert "Overall exposure level" in scored.stdout


def test_the_overlay_of_16_nodes_is_what_is_rendered_for_them() -> None:
    source = str((SIXTEEN / "run.toml").relative_to(ROOT))
    settings = load_settings(str(SIXTEEN / "run.toml"), [])
    rendered = KINDS["kubernetes"](source, settings, node_plan(settings, 16, 8), 16, 8)
    assert (SIXTEEN / "kustomization.yaml").read_text() == rendered


@needs("kubectl", "kubectl kustomize")
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_kustomize_builds_the_overlay_and_the_schemas_take_it(overlay: Path, tmp_path: Path) -> None:
    built = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stderr
    manifests = built.stdout.split("\n---\n")
    kinds = Counter(
        line.removeprefix("kind: ") for text in manifests for line in text.splitlines() if line[:6] == "kind: "
    )
    assert (kinds["StatefulSet"], kinds["Deployment"], kinds["Service"], kinds["PodDisruptionBudget"]) == (4, 1, 5, 5)
    services = [text for text in manifests if "\nkind: Service\n" in text or text.startswith("kind: Service\n")]
    assert all("clusterIP: None" in text for text in services)
    assert built.stdout.count("grpc:\n") == 15, "three probes a service"
    assert (built.stdout.count('nvidia.com/gpu: "8"') == 2) == (overlay.name == "16-nodes")
    if shutil.which("kubernetes-validate") is None:
        pytest.skip("Kubernetes' schemas: needs kubernetes-validate (pip install kubernetes-validate)")
    (tmp_path / "all.yaml").write_text(built.stdout)
    words = ["kubernetes-validate", "--strict", str(tmp_path / "all.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", "compose.gpu.yml"]])
def test_the_real_plugin_takes_the_compose_files(files: list[str]) -> None:
    words = ["docker", "compose", *(word for name in files for word in ("--file", name)), "--profile", "*", "config"]
    if shutil.which("docker") is None or subprocess.run([*words[:2], "version"], capture_output=True).returncode != 0:
        pytest.skip("compose files: needs docker's compose plugin (docker-compose-plugin)")
    done = subprocess.run([*words, "--format", "json"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    others = {"prepare", "files", "page", "status", "prometheus", "grafana"}
    assert set(services) == {"controller", "replay", "verifier", "generator", "learner", *others}
    for role in ("controller", "replay", "verifier", "generator", "learner", "page"):
        assert services[role]["read_only"]
        assert services[role]["cap_drop"] == ["ALL"]
        assert services[role]["build"]["target"] == role
    assert [name for name, service in services.items() if service.get("user") == "0:0"] == ["files"]
    assert {port["host_ip"] for service in services.values() for port in service.get("ports", ())} == {"127.0.0.1"}
    for role in ("replay", "verifier", "generator", "learner", "files", "page"):
        assert services[role]["depends_on"]["controller"]["condition"] == "service_healthy"
