"""An export that is uploaded, to a hub on loopback, by the hub's own library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.simulated_hub import SimulatedHub, hub

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub, which transformers brings")
UPLOAD = """
import sys
from pathlib import Path
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.hub import upload
try:
    upload(Path(sys.argv[1]), sys.argv[2])
except CommandFailed as error:
    sys.exit(str(error))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "export-7"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(bytes(range(256)))
    return made


def upload(folder: Path, repository: str, at: SimulatedHub, token: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: the library reads its endpoint once."""
    environment = {**os.environ, "HF_ENDPOINT": at.address, "HF_TOKEN": token, "HF_HOME": str(folder.parent / "home")}
    return subprocess.run(
        [sys.executable, "-c", UPLOAD, str(folder), repository],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_file_of_the_folder_arrives_in_a_private_repository(folder: Path) -> None:
    with hub(token="secret") as made:
        done = upload(folder, "anna/mine", made, "secret")
    assert done.returncode == 0, done.stderr
    assert "anna/mine: " in done.stdout
    assert made.uploaded == {path.name: path.read_bytes() for path in folder.iterdir()}
    [repository] = made.repositories
    assert (repository["name"], repository["organization"]) == ("mine", "anna")
    assert repository.get("private") or repository.get("visibility") == "private"


def test_who_is_refused_is_told_what_would_do(folder: Path) -> None:
    with hub(token="secret") as made:
        done = upload(folder, "anna/mine", made, "wrong")
    assert done.returncode == 1
    assert made.uploaded == {}
    assert "--push anna/mine: 401" in done.stderr.replace("Client error ", "").replace("'", "")
    assert f"`hf upload anna/mine {folder}` tries again" in done.stderr
    assert "Traceback" not in done.stderr
    assert "wrong" not in done.stderr


def test_a_name_that_is_none_is_refused(folder: Path) -> None:
    with hub() as made:
        done = upload(folder, "a b/c d", made, "t")
    assert done.returncode == 1
    assert done.stderr.startswith("--push a b/c d: ")
    assert made.repositories == []


def test_a_hub_that_is_not_there_is_named(folder: Path) -> None:
    done = upload(folder, "anna/mine", SimulatedHub(address="http://127.0.0.1:9"), "t")
    assert done.returncode == 1
    assert "tries again" in done.stderr
    assert "Traceback" not in done.stderr
