"""LoRA on two ranks, real processes over Gloo with FSDP2, against one rank: gradients, steps, checkpoints, exports."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from transformers import AutoModelForCausalLM

from areal_mesh.learner.batches.micro_batch import MicroBatchBuilder
from areal_mesh.learner.checkpoints.exporting import export_version
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.model.adapters import is_adapter
from areal_mesh.learner.model.parallel import from_process_group, whole
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import RunSettings
from tests.unit.learner_support import make_batch, settings_for, write_model

pytest.importorskip("peft", reason="needs PEFT: install the learner extra")

RANKS = 2
STEPS = 3
# Two processes import torch, transformers and PEFT; on a loaded machine that alone can take two minutes.
pytestmark = pytest.mark.timeout(400)


def run_settings(folder: Path, *overrides: str) -> RunSettings:
    sizes = ("learner.lora.rank=4", "algorithm.advantage.kl_coefficient=0.01", "algorithm.loss.type=decoupled_ppo")
    return settings_for(folder, *sizes, *overrides)


def gradients(trainer: Trainer) -> dict[str, Tensor]:
    """Whole gradients of the sum of a batch's log-probabilities; each rank has its half of the responses."""
    rank, ranks = trainer.parallel.rank, trainer.parallel.world_size
    data = MicroBatchBuilder(make_batch(7), 0, torch.device("cpu"), torch.float32).build(range(rank, 12, ranks))
    trainer._policy(data).sum().backward()
    found = {}
    for name, weight in trainer._policy.named_weights():
        assert (weight.grad is not None) == is_adapter(name), name
        if weight.grad is not None:
            found[name] = whole(weight.grad)
    trainer._masters.zero_grad()
    return found


def run_script(trainer: Trainer, checkpoints: Path, brings_batch: bool) -> dict[str, Any]:
    """Steps with a new reference and checkpoints among them; then the gradients, and the weights to publish."""
    store = CheckpointStore(checkpoints, 2, trainer)
    figures = []
    for seed in range(STEPS):
        batch = make_batch(seed, version=seed) if brings_batch else None
        found = trainer.step(trainer.parallel.broadcast_batch(batch)).figures
        figures.append({name: value for name, value in found.items() if name != "micro_batches"})
        if seed == 0:
            trainer.restart(optimizer=False, reference=True)
        store.save(step=seed + 1, stage="8k")
    store.close()
    weights = {name: tensor.clone() for name, tensor in trainer.named_tensors()}
    exact = gradients(trainer) if trainer.compute_dtype == torch.float32 else {}
    return {"figures": figures, "weights": weights, "gradients": exact}


def rank_main(rank: int, rendezvous: str, runs: dict[str, RunSettings], output: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    try:
        for name, settings in runs.items():
            trainer = Trainer(settings, from_process_group("cpu"))
            found = run_script(trainer, Path(output) / name / "checkpoints", brings_batch=rank == 0)
            trainer.save_hf(os.path.join(output, name, "export"))
            torch.save(found, os.path.join(output, name, f"rank{rank}.pt"))
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunSettings]:
    folder = write_model(tmp_path_factory.mktemp("model"))
    return {"float32": run_settings(folder), "bfloat16": run_settings(folder, "model.dtype=bfloat16")}


@pytest.fixture(scope="module")
def output(runs: dict[str, RunSettings], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("ranks")
    spawn(rank_main, (str(target / "rendezvous"), runs, str(target)), nprocs=RANKS)  # type: ignore[no-untyped-call]
    return target


def left_by(output: Path, run: str, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(output / run / f"rank{rank}.pt", weights_only=True)
    return found


def test_two_ranks_have_the_gradients_and_take_the_steps_of_one(
    runs: dict[str, RunSettings], output: Path, tmp_path: Path
) -> None:
    alone = run_script(Trainer(runs["float32"]), tmp_path / "checkpoints", brings_batch=True)
    for rank in range(RANKS):
        found = left_by(output, "float32", rank)
        assert found["gradients"].keys() == alone["gradients"].keys()
        torch.testing.assert_close(found["gradients"], alone["gradients"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found["weights"], alone["weights"], rtol=0, atol=1e-5)
        for together, one in zip(found["figures"], alone["figures"], strict=True):
            assert together == pytest.approx(one, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("run", ["float32", "bfloat16"])
def test_what_two_ranks_saved_is_exported_as_they_published_it(
    runs: dict[str, RunSettings], output: Path, tmp_path: Path, run: str
) -> None:
    settings = runs[run]
    published = left_by(output, run, 1)["weights"]
    checkpoints = output / run / "checkpoints"
    export_version(checkpoints, None, settings.model.folder, run, tmp_path / "export")
    for folder in (tmp_path / "export", output / run / "export"):
        exported = dict(AutoModelForCausalLM.from_pretrained(folder, dtype="auto").named_parameters())
        assert exported.keys() == published.keys()
        assert [name for name in published if not torch.equal(exported[name], published[name])] == []


@pytest.mark.parametrize("run", ["float32", "bfloat16"])
def test_one_rank_goes_on_from_what_two_saved(runs: dict[str, RunSettings], output: Path, run: str) -> None:
    resumed = Trainer(runs[run])
    store = CheckpointStore(output / run / "checkpoints", 2, resumed)
    manifest = store.load_latest()
    store.close()
    assert manifest is not None
    assert (manifest.policy_version, manifest.world_size, manifest.reference_version) == (STEPS, RANKS, 1)
    published = left_by(output, run, 0)["weights"]
    assert [name for name, tensor in resumed.named_tensors() if not torch.equal(tensor, published[name])] == []
    assert resumed.step(make_batch(STEPS, version=STEPS)).figures["optimizer_updates"] > 0
