"""Checkpoints: exact resumption, atomic and kept folders, torn ones ignored."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from areal_mesh.learner.checkpoints.files import CheckpointError, CheckpointStore
from areal_mesh.learner.checkpoints.manifest import MANIFEST, folders
from areal_mesh.learner.trainer import Trainer
from tests.unit.learner_support import make_batch, settings_for, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def build(folder: Path, dtype: str = "float32", *overrides: str) -> Trainer:
    decoupled = "algorithm.loss.type=decoupled_ppo"
    return Trainer(settings_for(folder, f"model.dtype={dtype}", decoupled, "learner.warmup_share=0.01", *overrides))


@contextmanager
def store(folder: Path, trainer: Trainer, keep_last: int = 2) -> Iterator[CheckpointStore]:
    opened = CheckpointStore(folder, keep_last, trainer)
    try:
        yield opened
    finally:
        opened.close()


def train(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step(make_batch(trainer.policy_version, version=trainer.policy_version))


def assert_same_state(one: Trainer, other: Trainer) -> None:
    mine, theirs = one.state_tensors(True), other.state_tensors(True)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert (one.policy_version, one.optimizer.updates) == (other.policy_version, other.optimizer.updates)


@pytest.mark.parametrize("how", [("float32",), ("bfloat16",), ("float32", "learner.muon={}")])
def test_two_steps_a_restart_and_two_more_are_four_steps_bit_by_bit(
    folder: Path, tmp_path: Path, how: tuple[str, ...]
) -> None:
    whole, first = build(folder, *how), build(folder, *how)
    train(whole, 4)
    train(first, 2)
    with store(tmp_path, first) as checkpoints:
        checkpoints.save(step=2, stage="8k")
    resumed = build(folder, *how)
    with store(tmp_path, resumed) as checkpoints:
        manifest = checkpoints.load_latest()
    assert manifest is not None
    assert (manifest.policy_version, manifest.step, manifest.stage, manifest.reference_version) == (2, 2, "8k", 0)
    train(resumed, 2)
    assert_same_state(resumed, whole)


def test_a_moved_reference_comes_back_with_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    first = build(folder)
    train(first, 1)
    first.restart(optimizer=True, reference=True)
    train(first, 1)
    with store(tmp_path, first) as checkpoints:
        checkpoints.save(2, "16k")
    resumed = build(folder)
    with store(tmp_path, resumed) as checkpoints:
        checkpoints.load_latest()
    assert resumed.reference_version == 1
    assert_same_state(resumed, first)


def test_training_may_go_on_while_a_snapshot_is_written(folder: Path, tmp_path: Path) -> None:
    trainer, still = build(folder), build(folder)
    train(trainer, 1)
    train(still, 1)
    with store(tmp_path, trainer) as checkpoints:
        checkpoints.save(1, "8k")
        train(trainer, 1)
        checkpoints.wait()
    resumed = build(folder)
    with store(tmp_path, resumed) as checkpoints:
        checkpoints.load_latest()
    assert_same_state(resumed, still)


def test_only_the_last_few_are_kept_and_nothing_else_lies_about(folder: Path, tmp_path: Path) -> None:
    trainer = build(folder)
    with store(tmp_path, trainer, keep_last=2) as checkpoints:
        for step in range(1, 5):
            train(trainer, 1)
            checkpoints.save(step, "8k")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["version-00000003", "version-00000004"]


def test_one_that_is_being_deleted_is_no_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(folder)
    half_deleted: list[Path] = []

    def dies_half_way(path: Path) -> None:
        (path / MANIFEST).unlink()
        half_deleted.append(path)
        raise OSError("killed in the middle")

    with store(tmp_path, trainer, keep_last=1) as checkpoints:
        checkpoints.save(1, "8k")
        train(trainer, 1)
        with monkeypatch.context() as patched:
            patched.setattr("shutil.rmtree", dies_half_way)
            checkpoints.save(2, "8k")
            with pytest.raises(CheckpointError, match="killed in the middle"):
                checkpoints.wait()
        assert half_deleted[0].is_dir()
        assert [path.name for path in folders(tmp_path)] == ["version-00000001"]
        train(trainer, 1)
        checkpoints.save(3, "8k")
    assert [path.name for path in tmp_path.iterdir()] == ["version-00000002"]


@pytest.mark.parametrize(
    "damage",
    [
        "truncated",
        "missing",
        "no manifest",
        "broken manifest",
        "other format",
        "flipped bit of __0_0.distcp",
        "flipped bit of .metadata",
        "flipped bit of manifest.json",
    ],
)
def test_a_torn_or_damaged_checkpoint_is_passed_over_with_a_log_line(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    trainer = build(folder)
    with store(tmp_path, trainer) as checkpoints:
        for step in (1, 2):
            train(trainer, 1)
            checkpoints.save(step, "8k")
    newest = tmp_path / "version-00000002"
    spoil(newest, damage)
    (tmp_path / ".version-00000003.partial").mkdir()
    with store(tmp_path, build(folder)) as checkpoints, caplog.at_level(logging.WARNING):
        manifest = checkpoints.load_latest()
    assert manifest is not None
    assert manifest.policy_version == 1
    assert f"ignoring checkpoint {newest}" in caplog.text


def spoil(folder: Path, damage: str) -> None:
    manifest, shard = folder / MANIFEST, folder / "__0_0.distcp"
    if damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "missing":
        shard.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    elif damage.startswith("flipped bit of "):
        damaged = folder / damage.rpartition(" ")[2]
        content = bytearray(damaged.read_bytes())
        # In the manifest, a digit of its version: still JSON, and another number.
        content[content.index(b'_version": ') + len(b'_version": ') if damaged == manifest else len(content) // 2] ^= 1
        damaged.write_bytes(content)
    elif damage == "broken manifest":
        manifest.write_text("{", encoding="utf-8")
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}), encoding="utf-8")


def test_the_same_version_is_written_again_over_a_torn_one(folder: Path, tmp_path: Path) -> None:
    trainer = build(folder)
    train(trainer, 1)
    with store(tmp_path, trainer) as checkpoints:
        checkpoints.save(1, "8k")
        checkpoints.wait()
        (tmp_path / "version-00000001" / MANIFEST).unlink()
        checkpoints.save(1, "8k")
        checkpoints.wait()
        assert checkpoints.load_latest() is not None


def test_an_empty_folder_holds_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    with store(tmp_path / "none", build(folder)) as checkpoints:
        assert checkpoints.load_latest() is None


def test_a_failed_write_is_raised_at_the_next_wait(folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    with store(blocked, build(folder)) as checkpoints:
        checkpoints.save(0, "8k")
        with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*version-00000000"):
            checkpoints.wait()


def test_a_checkpoint_of_another_model_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with store(tmp_path / "kept", build(folder)) as checkpoints:
        checkpoints.save(0, "8k")
    other = build(write_model(tmp_path / "llama", tied=False))
    with store(tmp_path / "kept", other) as checkpoints, pytest.raises(CheckpointError, match=r"version-00000000"):
        checkpoints.load_latest()
