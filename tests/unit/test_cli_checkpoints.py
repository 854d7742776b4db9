"""`checkpoint list` beside a run that writes new checkpoints and deletes the old ones."""

from pathlib import Path
from shutil import rmtree

import pytest

from areal_mesh.cli import checkpoints
from areal_mesh.cli.checkpoints import list_checkpoints
from areal_mesh.cli.found_runs import LEDGER_FILE
from areal_mesh.learner.checkpoints.manifest import Manifest, fault_of, path_of, seal

VERSIONS = (1, 2, 3)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for version in VERSIONS:
        folder = path_of(tmp_path / "checkpoints", version)
        folder.mkdir(parents=True)
        (folder / "__0_0.distcp").write_bytes(b"tensors")
        seal(folder, Manifest(version, version, "8K", version, 0, "model", 1))
    (tmp_path / LEDGER_FILE).touch()
    return tmp_path


@pytest.mark.parametrize("deleted_before", [True, False], ids=["before it is read", "after its files were read"])
def test_one_that_is_deleted_while_it_is_read_is_no_fault(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], deleted_before: bool
) -> None:
    def read_as_it_goes(folder: Path, contents: bool) -> str | None:
        oldest = folder.name.endswith("1")
        if oldest and deleted_before:
            rmtree(folder)
        fault = fault_of(folder, contents)
        if oldest and not deleted_before:
            rmtree(folder)
        return fault

    monkeypatch.setattr(checkpoints, "fault_of", read_as_it_goes)
    assert list_checkpoints(str(run), as_json=True, contents=True) == 0
    told = capsys.readouterr().out
    assert '"policy_version": 3' in told
    assert '"policy_version": 2' in told
    assert '"policy_version": 1' not in told


def test_one_that_lost_a_file_is_a_fault(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path_of(run / "checkpoints", 1) / "__0_0.distcp").unlink()
    assert list_checkpoints(str(run), as_json=False, contents=False) == 1
    assert "__0_0.distcp is missing" in capsys.readouterr().out
