"""What a machine's properties mean for a run."""

import json
from dataclasses import replace

import pytest

from areal_mesh.cli.doctor import examine
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.findings import Finding, findings, lacks
from areal_mesh.cli.machine import Gpu, Machine, read_machine
from areal_mesh.runtime.settings import RunSettings, load_settings

ROOMY = Machine(
    cores=2,
    cpu_flags=frozenset({"avx2", "avx512f", "avx512bw", "avx512vl"}),
    memory_gib=16.0,
    shared_memory_gib=8.0,
    disk_gib=50.0,
    gpus=(),
    packages={"torch": "2.0.0+cpu", "transformers": "5.0", "vllm": "0.9"},
)
NODE = replace(
    ROOMY,
    cores=64,
    gpus=(Gpu("H800", 80.0, "570.1"),) * 8,
    packages={"torch": "2.0.0+cu130", "transformers": "5.0", "vllm": "0.9", "nccl": "2.28"},
)


@pytest.fixture(scope="module")
def trial() -> RunSettings:
    return load_settings("trial")


@pytest.fixture(scope="module")
def on_gpus() -> RunSettings:
    return load_settings("distill-1.5b-1node")


def level_of(found: list[Finding], name: str) -> str:
    (finding,) = (each for each in found if each.name == name)
    assert (finding.remedy == "") == (finding.level == "fine"), "what is not fine says what would do"
    return finding.level


def test_a_roomy_machine_runs_the_trial_and_a_node_the_real_run(trial: RunSettings, on_gpus: RunSettings) -> None:
    assert {finding.level for finding in findings(ROOMY, trial)} == {"fine"}
    assert {finding.level for finding in findings(NODE, on_gpus)} == {"fine"}
    assert list(lacks(ROOMY, trial)) == []


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"cores": 1}, "cores", "remark"),
        ({"cpu_flags": frozenset({"avx2"})}, "CPU instructions", "remark"),
        ({"cpu_flags": frozenset({"sse4_2"})}, "CPU instructions", "fault"),
        ({"memory_gib": 2.0}, "memory", "fault"),
        ({"shared_memory_gib": 0.06}, "shared memory", "remark"),
        ({"disk_gib": 0.5}, "disk", "remark"),
        ({"packages": {"torch": "2.0.0+cpu", "transformers": "5.0"}}, "packages", "fault"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_trial_lacks_is_found(trial: RunSettings, change: dict[str, object], name: str, level: str) -> None:
    machine = replace(ROOMY, **change)  # type: ignore[arg-type]
    found = list(findings(machine, trial))
    assert level_of(found, name) == level
    assert [finding.name for finding in found if finding.level != "fine"] == [name]


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"gpus": NODE.gpus[:3]}, "GPUs", "fault"),
        ({"shared_memory_gib": 0.06}, "shared memory", "fault"),
        ({"gpus": (Gpu("T4", 16.0, "570.1"),) * 8}, "GPUs", "remark"),
        ({"packages": {**NODE.packages, "torch": "2.0.0+cpu"}}, "torch's build", "fault"),
        ({"packages": {k: v for k, v in NODE.packages.items() if k != "nccl"}}, "NCCL", "fault"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_run_on_gpus_lacks_is_found(
    on_gpus: RunSettings, change: dict[str, object], name: str, level: str
) -> None:
    machine = replace(NODE, **change)  # type: ignore[arg-type]
    found = list(findings(machine, on_gpus))
    assert level_of(found, name) == level
    assert [finding.name for finding in found if finding.level != "fine"] == [name]


def test_the_launcher_is_told_what_the_machine_lacks(trial: RunSettings) -> None:
    assert list(lacks(replace(ROOMY, shared_memory_gib=0.06, disk_gib=0.1), trial)) == []
    (line,) = lacks(replace(ROOMY, memory_gib=2.0), trial)
    assert line == "memory: 2.0 GiB free; the services need 2.75 GiB beside the model; free some"


def test_this_machine_is_read(trial: RunSettings) -> None:
    machine = read_machine(trial.directory)
    assert machine.cores >= 1
    assert min(machine.memory_gib, machine.disk_gib) > 0
    assert "avx2" in machine.cpu_flags
    assert "torch" in machine.packages


def test_the_command_prints_a_finding_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandFailed, match="have to be seen to before"):
        examine("distill-1.5b-1node", ["generator.tensor_parallel_size=512"], as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"cores", "GPUs", "ports"} <= {line["name"] for line in lines}
