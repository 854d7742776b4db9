"""The learner on two ranks, real processes over Gloo with FSDP2, against the learner on one."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from transformers import AutoModelForCausalLM

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.checkpoints.manifest import Manifest
from areal_mesh.learner.model.parallel import from_process_group
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import RunSettings
from tests.unit.learner_support import settings_for, write_model

RANKS = 2
DECOUPLED = "algorithm.loss.type=decoupled_ppo"
# Three processes import torch and transformers; on a loaded machine that alone can take two minutes.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def make_batch(seed: int, sequences: int = 9) -> TrainingBatch:
    """9 responses over 4 minibatches and 2 ranks: some rank has an empty micro-batch."""
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randint(1, 6, (sequences,), generator=generator)
    responses = torch.randint(1, 24, (sequences,), generator=generator)
    tokens = int(responses.sum())
    return TrainingBatch(
        token_ids=torch.randint(0, 32, (int((prompts + responses).sum()),), generator=generator),
        sequence_lengths=prompts + responses,
        prompt_lengths=prompts,
        behaviour_log_probs=-3.4 + 0.3 * torch.rand(tokens, generator=generator),
        token_versions=torch.full((tokens,), seed),
        rewards=torch.where(torch.rand(sequences, generator=generator) < 0.4, 5.0, -5.0).double(),
        group_index=torch.arange(sequences) // 3,
        response_limits=torch.full((sequences,), 23),
        truncated=responses == 23,
    )


def run_settings(folder: Path, *overrides: str) -> RunSettings:
    sizes = ("algorithm.temperature=0.6", "learner.max_tokens_per_micro_batch=40")
    return settings_for(folder, *sizes, "algorithm.advantage.kl_coefficient=0.01", *overrides)


def run_script(trainer: Trainer, store: CheckpointStore, brings_batch: bool) -> dict[str, Any]:
    """Two steps with a stage change and a checkpoint between them; what they reported and the weights they left."""
    results = []
    for seed in range(2):
        batch = trainer.parallel.broadcast_batch(make_batch(seed) if brings_batch else None)
        found = trainer.step(batch).figures
        results.append({name: value for name, value in found.items() if name != "micro_batches"})
        if seed == 0:
            trainer.restart(optimizer=False, reference=True)
            store.save(step=1, stage="8k")
    weights = {name: tensor.clone() for name, tensor in trainer.named_tensors()}
    store.close()
    return {"results": results, "weights": weights}


def rank_main(rank: int, rendezvous: str, runs: dict[str, RunSettings], output: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    try:
        for name, settings in runs.items():
            trainer = Trainer(settings, from_process_group("cpu"))
            store = CheckpointStore(Path(output) / name / "checkpoints", 2, trainer)
            found = run_script(trainer, store, brings_batch=rank == 0)
            trainer.save_hf(os.path.join(output, name, "export"))
            torch.save(found, os.path.join(output, name, f"rank{rank}.pt"))
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, RunSettings]:
    return {
        "ppo": run_settings(folder),
        "decoupled_ppo": run_settings(folder, DECOUPLED),
        "grpo": run_settings(folder, "algorithm.advantage={type='grpo'}", "algorithm.loss.type=cispo"),
        "muon": run_settings(folder, DECOUPLED, "learner.muon={momentum=0.9}"),
        "bfloat16": run_settings(folder, DECOUPLED, "model.dtype=bfloat16"),
    }


@pytest.fixture(scope="module")
def output(runs: dict[str, RunSettings], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left, one folder a run: they go through all runs, because their imports cost the most."""
    target = tmp_path_factory.mktemp("ranks")
    spawn(rank_main, (str(target / "rendezvous"), runs, str(target)), nprocs=RANKS)  # type: ignore[no-untyped-call]
    return target


def left_by(output: Path, run: str, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(output / run / f"rank{rank}.pt", weights_only=True)
    return found


def resume(settings: RunSettings, checkpoints: Path) -> tuple[Trainer, Manifest]:
    resumed = Trainer(settings)
    store = CheckpointStore(checkpoints, 2, resumed)
    manifest = store.load_latest()
    store.close()
    assert manifest is not None
    return resumed, manifest


@pytest.mark.parametrize("run", ["ppo", "decoupled_ppo", "grpo", "muon"])
def test_two_ranks_take_the_steps_that_one_rank_takes(
    runs: dict[str, RunSettings], output: Path, tmp_path: Path, run: str
) -> None:
    single = Trainer(runs[run])
    alone = run_script(single, CheckpointStore(tmp_path, 2, single), brings_batch=True)
    ranks = [left_by(output, run, rank) for rank in range(RANKS)]
    assert ranks[0]["results"] == ranks[1]["results"]
    for rank in ranks:
        torch.testing.assert_close(rank["weights"], alone["weights"], rtol=0, atol=1e-5)
    for together, one in zip(ranks[0]["results"], alone["results"], strict=True):
        assert together == pytest.approx(one, rel=1e-4, abs=1e-5)
    resumed, manifest = resume(runs[run], output / run / "checkpoints")
    assert (manifest.policy_version, manifest.world_size) == (1, RANKS)
    resumed.step(make_batch(1))
    torch.testing.assert_close(dict(resumed.named_tensors()), alone["weights"], rtol=0, atol=1e-5)


def test_sharded_weights_are_exported_whole(output: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(output / "ppo" / "export", dtype="auto")
    exported = dict(loaded.named_parameters())
    weights = left_by(output, "ppo", 1)["weights"]
    assert exported.keys() == weights.keys()
    assert all(torch.equal(exported[name], weight) for name, weight in weights.items())


def test_sharded_ranks_compute_in_bfloat16_and_keep_float32_weights(runs: dict[str, RunSettings], output: Path) -> None:
    weights = left_by(output, "bfloat16", 0)["weights"]
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    resumed, _ = resume(runs["bfloat16"], output / "bfloat16" / "checkpoints")
    masters = resumed.state_tensors(with_reference=False)
    moved = [name for name, rounded in resumed.named_tensors() if (masters[f"policy.{name}"] != rounded.float()).any()]
    assert moved, "the checkpoint holds more digits than bfloat16 has"
