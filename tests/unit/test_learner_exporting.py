"""Export of a checkpoint: the weights that were published, the folder they came from, and what is refused."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from areal_mesh.cli.export import export
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.learner.checkpoints.exporting import NotExported, export_version
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.trainer import Trainer
from tests.unit.learner_support import make_batch, settings_for, write_model


def save(trainer: Trainer, folder: Path) -> None:
    """One step, and its checkpoint."""
    trainer.step(make_batch(0))
    store = CheckpointStore(folder, 1, trainer)
    store.save(step=1, stage="8k")
    store.close()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_exported_is_what_was_published(tmp_path: Path, tied: bool, dtype: str) -> None:
    model = write_model(tmp_path / "model", tied=tied)
    (model / "modeling_own.py").write_text("# remote code")
    trainer = Trainer(settings_for(model, f"model.dtype={dtype}"))
    save(trainer, tmp_path / "checkpoints")
    export_version(tmp_path / "checkpoints", None, model, dtype, tmp_path / "export")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype="auto")
    assert loaded.dtype == trainer.compute_dtype
    assert loaded.config.tie_word_embeddings is tied
    exported = dict(loaded.named_parameters())
    published = dict(trainer.named_tensors())
    assert exported.keys() == published.keys()
    assert all(torch.equal(exported[name], tensor) for name, tensor in published.items())
    assert (tmp_path / "export" / "modeling_own.py").is_file()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(settings_for(write_model(tmp_path / "model", tied=True)))
    save(trainer, tmp_path / "checkpoints")
    other = write_model(tmp_path / "other", tied=False)
    with pytest.raises(NotExported, match="as a checkpoint of"):
        export_version(tmp_path / "checkpoints", 1, other, "float32", tmp_path / "export")
    assert not (tmp_path / "export").exists()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a run with one checkpoint."""
    settings = settings_for(write_model(tmp_path / "model"))
    folder = tmp_path / "run"
    save(Trainer(settings), folder / "checkpoints")
    (folder / "settings.json").write_text(settings.model_dump_json())
    return folder


def test_the_command_exports_the_newest_checkpoint(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(str(run), None, "")
    assert "export-00000001: a model folder, float32" in capsys.readouterr().out
    assert (run / "checkpoints" / "export-00000001" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("version", "to", "says"),
    [(7, "", "no whole checkpoint of version 7; there are 1"), (None, "{run}/checkpoints", "is there already")],
    ids=["another version", "a folder that is there"],
)
def test_the_command_says_what_would_do(run: Path, version: int | None, to: str, says: str) -> None:
    with pytest.raises(CommandFailed, match=says):
        export(str(run), version, to.format(run=run))


def test_a_run_without_a_checkpoint_is_told_so(run: Path) -> None:
    (run / "checkpoints").rename(run / "elsewhere")
    with pytest.raises(CommandFailed, match="no whole checkpoint is there"):
        export(str(run), None, "")
