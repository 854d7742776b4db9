"""Checkpoints on a full disk: training goes on, the fault is said, and the next one is written once there is room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.trainer import Trainer
from tests.integration.small_disk import fill, small_disk
from tests.unit.learner_support import make_batch, settings_for, write_model


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 16) as folder:
        yield folder


def test_a_checkpoint_that_finds_no_room_is_said_and_the_next_is_written(tmp_path: Path, disk: Path) -> None:
    trainer = Trainer(settings_for(write_model(tmp_path / "model")))
    store = CheckpointStore(disk / "checkpoints", 2, trainer)
    store.save(step=0, stage="8k")
    store.wait()
    assert (store.missing, store.fault) == (False, "")
    trainer.step(make_batch(0, version=0))
    filler = fill(disk)
    store.save(step=1, stage="8k")
    store.wait()
    assert store.missing
    assert "no room for a checkpoint of" in store.fault
    trainer.step(make_batch(1, version=1))
    assert [path.name for path in (disk / "checkpoints").iterdir()] == ["version-00000000"], "nothing is left of it"
    filler.unlink()
    assert (store.missing, store.fault) == (True, ""), "there is room for the next one"
    store.save(step=2, stage="8k")
    store.wait()
    assert (store.missing, store.fault) == (False, "")
    store.close()
    again = CheckpointStore(disk / "checkpoints", 2, trainer)
    manifest = again.load_latest()
    again.close()
    assert manifest is not None
    assert manifest.policy_version == 2
