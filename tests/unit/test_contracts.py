"""The contracts: their Python is what their .proto files say, and they are clean to buf."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")


def test_generated_code_matches_the_contracts(tmp_path: Path) -> None:
    protos = ROOT / "protos"
    contracts = sorted(str(path.relative_to(protos)) for path in (protos / "areal_mesh" / "v1").glob("*.proto"))
    rules = ["buf/validate/validate.proto"]
    for files, kinds in ((contracts, ("python", "grpc_python", "mypy", "mypy_grpc")), (rules, ("python", "mypy"))):
        generate(protos, files, [f"--{kind}_out={tmp_path}" for kind in kinds])
    for folder in (Path("areal_mesh/v1"), Path("buf/validate")):
        fresh = {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        in_tree = {path.name: path.read_bytes() for path in (protos / folder).glob("*_pb2*.py*")}
        assert sorted(fresh) == sorted(in_tree), "run `make protos`"
        different = [name for name, content in fresh.items() if in_tree[name] != content]
        assert not different, f"{different} differ from their .proto files; run `make protos`"


def generate(protos: Path, files: list[str], outputs: list[str]) -> None:
    plugins = [
        f"--plugin={name}={Path(sys.executable).with_name(name)}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    run = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *plugins, *outputs, *files],
        cwd=protos,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not BUF.exists(), reason="buf is not installed: pip install buf-bin")
def test_the_contracts_are_clean_to_buf() -> None:
    run = subprocess.run([BUF, "lint"], cwd=ROOT / "protos", capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
