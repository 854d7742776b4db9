"""The learner on two ranks, real processes over Gloo with FSDP2, against the learner on one."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from transformers import AutoModelForCausalLM, Qwen2Config

from areal_mesh.learner.batch import TrainingBatch
from areal_mesh.learner.checkpoint import CheckpointStore
from areal_mesh.learner.parallel import from_process_group
from areal_mesh.learner.trainer import Trainer
from areal_mesh.learner.trainer_settings import TrainerSettings

RANKS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Qwen2Config(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    torch.manual_seed(7)
    target = tmp_path_factory.mktemp("model")
    AutoModelForCausalLM.from_config(config).save_pretrained(target)
    return target


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
        token_versions=torch.zeros(tokens, dtype=torch.int64),
        rewards=torch.where(torch.rand(sequences, generator=generator) < 0.4, 5.0, -5.0).double(),
        group_index=torch.arange(sequences) // 3,
    )


def settings_for(folder: Path, algorithm: Any, dtype: str = "float32") -> TrainerSettings:
    return TrainerSettings(
        folder,
        algorithm=algorithm,
        dtype=dtype,
        temperature=0.6,
        learning_rate=1e-3,
        kl_coefficient=0.01,
        max_tokens_per_micro_batch=40,
        threads=1,
    )


def run_script(trainer: Trainer, store: CheckpointStore, brings_batch: bool) -> dict[str, Any]:
    """Two steps with a stage change and a checkpoint between them; what they reported and the weights they left."""
    results = []
    for seed in range(2):
        batch = trainer.parallel.broadcast_batch(make_batch(seed) if brings_batch else None)
        results.append(asdict(replace(trainer.step(batch), seconds={})))
        if seed == 0:
            trainer.restart(optimizer=False, reference=True)
            store.save(step=1, stage="8k")
    weights = {name: tensor.clone() for name, tensor in trainer.named_tensors()}
    store.close()
    return {"results": results, "weights": weights}


def rank_main(rank: int, rendezvous: str, settings: TrainerSettings, output: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    try:
        trainer = Trainer(settings, from_process_group("cpu"))
        store = CheckpointStore(Path(output) / "checkpoints", 2, trainer)
        found = run_script(trainer, store, brings_batch=rank == 0)
        trainer.save_hf(os.path.join(output, "export"))
        torch.save(found, os.path.join(output, f"rank{rank}.pt"))
    finally:
        dist.destroy_process_group()


def on_two_ranks(settings: TrainerSettings, tmp_path: Path) -> list[dict[str, Any]]:
    mp.spawn(rank_main, (str(tmp_path / "rendezvous"), settings, str(tmp_path)), nprocs=RANKS)
    return [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.parametrize("algorithm", ["ppo", "decoupled_ppo"])
def test_two_ranks_take_the_steps_that_one_rank_takes(folder: Path, tmp_path: Path, algorithm: str) -> None:
    settings = settings_for(folder, algorithm)
    single = Trainer(settings)
    alone = run_script(single, CheckpointStore(tmp_path / "alone", 2, single), brings_batch=True)
    ranks = on_two_ranks(settings, tmp_path)
    assert ranks[0]["results"] == ranks[1]["results"]
    for weights in (ranks[0]["weights"], ranks[1]["weights"]):
        torch.testing.assert_close(weights, alone["weights"], rtol=0, atol=1e-5)
    for together, one in zip(ranks[0]["results"], alone["results"], strict=True):
        assert {**together, "micro_batches": 0} == pytest.approx({**one, "micro_batches": 0}, rel=1e-4, abs=1e-5)
    assert_export_and_checkpoint(settings, tmp_path, ranks[0], alone)


def assert_export_and_checkpoint(
    settings: TrainerSettings, tmp_path: Path, ranks: dict[str, Any], alone: dict[str, Any]
) -> None:
    """The export holds the ranks' weights, and one rank goes on from their checkpoint as if it had been its own."""
    exported = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype="auto").named_parameters())
    assert all(torch.equal(exported[name], weight) for name, weight in ranks["weights"].items())
    resumed = Trainer(settings)
    store = CheckpointStore(tmp_path / "checkpoints", 2, resumed)
    manifest = store.load_latest()
    store.close()
    assert manifest is not None
    assert (manifest.policy_version, manifest.world_size, manifest.reference_version) == (1, RANKS, 1)
    resumed.step(make_batch(1))
    torch.testing.assert_close(dict(resumed.named_tensors()), alone["weights"], rtol=0, atol=1e-5)


def test_sharded_ranks_compute_in_bfloat16_and_keep_float32_weights(folder: Path, tmp_path: Path) -> None:
    found = on_two_ranks(settings_for(folder, "decoupled_ppo", "bfloat16"), tmp_path)
    assert {weight.dtype for weight in found[0]["weights"].values()} == {torch.bfloat16}
    resumed = Trainer(settings_for(folder, "decoupled_ppo", "bfloat16"))
    store = CheckpointStore(tmp_path / "checkpoints", 2, resumed)
    assert store.load_latest() is not None
    store.close()
    before = {name: tensor.float() for name, tensor in resumed.named_tensors()}
    masters = {name: tensor for name, tensor in resumed.state_tensors(False).items() if name.startswith("policy.")}
    assert {tensor.dtype for tensor in masters.values()} == {torch.float32}
    assert any(not torch.equal(masters[f"policy.{name}"], rounded) for name, rounded in before.items())
