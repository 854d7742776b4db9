"""A tiny random model and synthetic rollouts for the learner's tests."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import RunSettings, load_settings

VOCABULARY = 32


def settings_for(folder: Path, *overrides: str) -> RunSettings:
    """The trial's settings on the model in `folder`, one thread, with AReaL v0.1's objective; `overrides` on top."""
    base = ["algorithm.max_staleness=0", "algorithm.loss.type=ppo", "algorithm.advantage.type=areal"]
    base += ["algorithm.temperature=1.0", "algorithm.minibatch_by=response"]
    base += ["learner.threads=1", "learner.end_rate_share=1", "learner.muon=none"]
    sizes = ["learner.learning_rate=1e-3", "learner.max_tokens_per_micro_batch=60", "learner.warmup_share=0", "seed=0"]
    return load_settings("trial", [f"model.folder={folder}", "model.recipe=", *base, *sizes, *overrides])


def write_model(folder: Path, architecture: str = "qwen2", tied: bool = True) -> Path:
    """A random two-layer model with grouped-query attention, as a Hugging Face folder."""
    config_class: Any = {"qwen2": Qwen2Config, "llama": LlamaConfig}[architecture]
    config = config_class(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        initializer_range=0.2,
    )
    torch.manual_seed(7)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def make_batch(seed: int, sequences: int = 12, version: int = 0) -> TrainingBatch:
    """Random rollouts; log-probabilities near those of a random policy, half of the tokens one version old."""
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randint(1, 6, (sequences,), generator=generator)
    responses = torch.randint(1, 24, (sequences,), generator=generator)
    tokens = int(responses.sum())
    return TrainingBatch(
        token_ids=torch.randint(0, VOCABULARY, (int((prompts + responses).sum()),), generator=generator),
        sequence_lengths=prompts + responses,
        prompt_lengths=prompts,
        behaviour_log_probs=-3.4 + 0.3 * torch.rand(tokens, generator=generator),
        token_versions=(version - torch.randint(0, 2, (tokens,), generator=generator)).clamp(min=0),
        rewards=torch.where(torch.rand(sequences, generator=generator) < 0.4, 5.0, -5.0).double(),
        group_index=torch.arange(sequences) // 4,
        response_limits=torch.full((sequences,), 24),
        truncated=responses >= 21,
    )


def build(folder: Path, *overrides: str) -> Trainer:
    """A trainer by `settings_for`."""
    return Trainer(settings_for(folder, *overrides))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    """Copies of its weights."""
    return {name: tensor.clone() for name, tensor in trainer.named_tensors()}


def figure(result: StepResult, name: str) -> float:
    """One figure of a step."""
    return result.figures[name]


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Response tokens of each forward pass from now on."""
    tokens: list[int] = []
    forward = PolicyModel.forward

    def counted(self: PolicyModel, micro_batch: Any) -> Tensor:
        tokens.append(micro_batch.targets.numel())
        return forward(self, micro_batch)

    monkeypatch.setattr(PolicyModel, "forward", counted)
    return tokens
