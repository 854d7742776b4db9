"""What a stage sets otherwise holds for its steps: rates, micro-batches, the temperature that logits are divided by."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.trainer import Trainer
from tests.unit.learner_support import figure, make_batch, settings_for, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def log_probs(folder: Path, batch: TrainingBatch, temperature: float) -> Tensor:
    """Of the response tokens, by transformers' own model."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found, start = [], 0
    with torch.no_grad():
        for length, prompt in zip(batch.sequence_lengths.tolist(), batch.prompt_lengths.tolist(), strict=True):
            tokens = batch.token_ids[start : start + length]
            logits = model(tokens[None]).logits[0] / temperature
            found.append(logits.log_softmax(-1)[:-1].gather(1, tokens[1:, None])[prompt - 1 :, 0])
            start += length
    return torch.cat(found)


def test_a_stage_has_its_own_rate_and_moments_and_the_next_the_runs(folder: Path) -> None:
    settings = settings_for(
        folder, "stages.1.learner.learning_rate=1e-5", "stages.1.learner.weight_decay=0", "stages.1.learner.beta2=0.5"
    )
    trainer = Trainer(settings)
    rates = [figure(trainer.step(make_batch(stage, version=stage), stage), "learning_rate") for stage in range(3)]
    assert rates == pytest.approx([1e-3, 1e-5, 1e-3])
    trainer.step(make_batch(3, version=3), 1)
    [matrices, _] = trainer.optimizer._adam.param_groups
    assert (matrices["weight_decay"], matrices["betas"]) == (0.0, (0.9, 0.5))


def test_a_stages_micro_batches_are_as_long_as_it_says(folder: Path) -> None:
    settings = settings_for(folder, "stages.1.learner.max_tokens_per_micro_batch=200")
    parts = [figure(Trainer(settings).step(make_batch(0, sequences=24), stage), "micro_batches") for stage in (0, 1)]
    assert parts[0] > parts[1]


def test_log_probabilities_are_of_the_temperature_of_the_batchs_stage(folder: Path) -> None:
    """Behaviour log-probabilities of a stage's temperature match in that stage, and in no other."""
    settings = settings_for(folder, "stages.1.sampling.temperature=0.5")
    batch = replace(make_batch(0), token_versions=torch.zeros_like(make_batch(0).token_versions))
    sampled = replace(batch, behaviour_log_probs=log_probs(folder, batch, temperature=0.5))
    mismatch = [figure(Trainer(settings).step(sampled, stage), "mismatch_kl") for stage in (1, 0)]
    assert mismatch[0] < 1e-6
    assert mismatch[1] > 1e-3


def test_a_stage_without_settings_of_its_own_gives_the_same_weights_as_none(folder: Path) -> None:
    found = []
    for stage in (0, 2):
        trainer = Trainer(settings_for(folder, "stages.1.learner.learning_rate=1e-5"))
        trainer.step(make_batch(0), stage)
        found.append(torch.cat([weight.flatten() for _, weight in trainer.named_tensors()]))
    assert torch.equal(found[0], found[1])
