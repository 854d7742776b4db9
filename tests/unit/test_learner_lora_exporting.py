"""Export of a run with LoRA: the merged model in transformers, the adapters in PEFT, both the live policy."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from areal_mesh.cli.export import export
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.learner.checkpoints.exporting import NotExported, export_version
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.model.adapters import without_adapters
from areal_mesh.learner.trainer import Trainer
from areal_mesh.weights.engine_digests import ModelLayout, engine_digests
from areal_mesh.weights.manifest import TensorSpec, WeightManifest
from areal_mesh.weights.snapshot import Snapshot
from tests.unit.learner_support import VOCABULARY, make_batch, settings_for, write_model

peft = pytest.importorskip("peft", reason="needs PEFT: install the learner extra")

LORA = "learner.lora.rank=4"
SOME = 'learner.lora.target_modules=["q_proj", "self_attn.o_proj"]'
ALL = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
TOKENS = torch.arange(VOCABULARY)[None]


def write_run(folder: Path, *overrides: str) -> Trainer:
    """The directory of a run with one checkpoint, and the trainer that it is of."""
    settings = settings_for(write_model(folder / "model"), *overrides)
    trainer = Trainer(settings)
    trainer.step(make_batch(0))
    store = CheckpointStore(folder / "run" / "checkpoints", 1, trainer)
    store.save(step=1, stage="8k")
    store.close()
    (folder / "run" / "settings.json").write_text(settings.model_dump_json())
    return trainer


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(TOKENS).logits
    return found


@torch.no_grad()
def live_logits(trainer: Trainer) -> Tensor:
    """Of the model that the learner trains, with the library's own attention."""
    model: Any = trainer._policy.causal_lm
    model.set_attn_implementation("sdpa")
    return logits(model)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_merged_model_is_what_was_published_and_answers_as_the_policy(tmp_path: Path, dtype: str) -> None:
    trainer = write_run(tmp_path, LORA, f"model.dtype={dtype}")
    export(str(tmp_path / "run"), None, str(tmp_path / "export"))
    trainer.save_hf(str(tmp_path / "live"))
    published = dict(trainer.named_tensors())
    for folder in ("export", "live"):
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / folder, dtype="auto")
        assert loaded.dtype == trainer.compute_dtype
        exported = dict(loaded.named_parameters())
        assert exported.keys() == published.keys()
        assert all(torch.equal(exported[name], tensor) for name, tensor in published.items())
    if dtype == "float32":
        torch.testing.assert_close(logits(loaded), live_logits(trainer), rtol=1e-5, atol=1e-5)
        with without_adapters(trainer._policy.causal_lm):
            assert float((live_logits(trainer) - logits(loaded)).abs().max()) > 0.01


@pytest.mark.parametrize(
    ("overrides", "targets"), [((LORA,), ALL), ((LORA, SOME), {"q_proj", "self_attn.o_proj"})], ids=["all", "some"]
)
def test_the_adapters_are_loaded_by_peft_and_answer_as_the_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...], targets: set[str]
) -> None:
    trainer = write_run(tmp_path, *overrides)
    export(str(tmp_path / "run"), None, "", adapters=True)
    folder = tmp_path / "run" / "checkpoints" / "adapters-00000001"
    assert f"{folder}: adapters, float32, for PEFT" in capsys.readouterr().out
    assert {file.name for file in folder.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    loaded = peft.PeftModel.from_pretrained(base, folder)
    config = loaded.peft_config["default"]
    assert (config.r, config.lora_alpha, config.base_model_name_or_path) == (4, 32, str(tmp_path / "model"))
    assert set(config.target_modules) == targets
    assert torch.equal(logits(loaded), live_logits(trainer))
    merged = dict(loaded.merge_and_unload().named_parameters())
    for name, tensor in trainer.named_tensors():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_snapshot_has_the_digests_of_an_engine_that_loaded_the_export(tmp_path: Path, dtype: str) -> None:
    trainer = write_run(tmp_path, LORA, f"model.dtype={dtype}")
    specs = [TensorSpec(name, dtype, shape) for name, _, shape in trainer.tensor_specs()]
    snapshot = Snapshot.of(WeightManifest(1, tuple(specs), 1 << 12), trainer.named_tensors())
    export(str(tmp_path / "run"), None, str(tmp_path / "export"))
    loaded = load_file(tmp_path / "export" / "model.safetensors")
    config = json.loads((tmp_path / "export" / "config.json").read_text())

    def digests(tensors: Iterator[tuple[str, Tensor]]) -> Mapping[str, str]:
        return engine_digests(tensors, ModelLayout.from_config(config), trainer.compute_dtype, 1)

    assert snapshot.digests(digests) == digests((name, loaded[name]) for name, _, _ in trainer.tensor_specs())


def test_adapters_that_were_not_trained_are_not_exported(tmp_path: Path) -> None:
    write_run(tmp_path)
    with pytest.raises(CommandFailed, match=r"--adapters: .*run has trained all weights, without learner\.lora"):
        export(str(tmp_path / "run"), None, "", adapters=True)
    with pytest.raises(NotExported, match=r"holds no adapters, for learner\.lora was off; export the model"):
        export_version(tmp_path / "run" / "checkpoints", 1, tmp_path / "model", "float32", None, adapters=True)
    assert not list((tmp_path / "run" / "checkpoints").glob("*adapters*"))
