"""Copies of checkpoints in a second place: whole ones, the last few, and nobody else's place is touched."""

import logging
from pathlib import Path

import fsspec
import pytest

from areal_mesh.learner.checkpoints.copying import BackgroundCopies, CheckpointCopies, CopyFailed
from areal_mesh.learner.checkpoints.manifest import MANIFEST, Manifest, fault_of, path_of, seal


def checkpoint(parent: Path, version: int) -> Path:
    folder = path_of(parent, version)
    folder.mkdir(parents=True)
    (folder / "__0_0.distcp").write_bytes(bytes([version]) * 1000)
    (folder / ".metadata").write_bytes(b"pickled")
    seal(folder, Manifest(version, version, "8k", version, 0, "model", 1))
    return folder


def test_the_last_few_are_copied_whole(tmp_path: Path) -> None:
    copies = CheckpointCopies(str(tmp_path / "second"), keep_last=2)
    for version in (1, 2, 3):
        copies.copy(checkpoint(tmp_path / "first", version))
    assert copies.names() == ["version-00000003", "version-00000002"]
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == [
        "owner.json",
        "version-00000002",
        "version-00000003",
    ]
    assert fault_of(path_of(tmp_path / "second", 3), contents=True) is None


def test_any_place_that_fsspec_knows_will_do(tmp_path: Path) -> None:
    copies = CheckpointCopies("memory://runs/one", keep_last=1)
    for version in (1, 2):
        copies.copy(checkpoint(tmp_path, version))
    assert copies.names() == ["version-00000002"]
    memory = fsspec.filesystem("memory")
    assert memory.cat_file("/runs/one/version-00000002/.metadata") == b"pickled"


@pytest.mark.parametrize("theirs", ["copies of another run", "something else"])
def test_the_place_of_another_is_left_as_it_is(tmp_path: Path, theirs: str) -> None:
    place = tmp_path / "second"
    if theirs == "something else":
        place.mkdir()
        (place / "thesis.tex").write_text("mine", encoding="utf-8")
    else:
        CheckpointCopies(str(place), 1).copy(checkpoint(tmp_path / "other", 9))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(CopyFailed, match="another"):
        CheckpointCopies(str(place), 1).copy(checkpoint(tmp_path / "first", 1))
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_copy_that_was_cut_short_is_none_and_is_made_anew(tmp_path: Path) -> None:
    copies = CheckpointCopies(str(tmp_path / "second"), keep_last=2)
    first = checkpoint(tmp_path / "first", 1)
    copies.copy(first)
    (tmp_path / "second" / first.name / MANIFEST).unlink()
    assert copies.names() == []
    copies.copy(first)
    copies.copy(checkpoint(tmp_path / "first", 2))
    assert len(copies.names()) == 2


def test_a_place_that_cannot_be_written_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    background = BackgroundCopies(CheckpointCopies(str(tmp_path / "file" / "second"), keep_last=1))
    with caplog.at_level(logging.ERROR):
        background.begin(checkpoint(tmp_path / "first", 1))
        background.close()
    assert background.failed == 1
    assert "version-00000001 is not copied to" in caplog.text


def test_the_last_checkpoint_is_copied_though_another_was_under_way(tmp_path: Path) -> None:
    copies = CheckpointCopies(str(tmp_path / "second"), keep_last=1)
    background = BackgroundCopies(copies)
    for version in range(1, 6):
        background.begin(checkpoint(tmp_path / "first", version))
    background.close()
    assert copies.names() == ["version-00000005"]
