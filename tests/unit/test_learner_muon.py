"""Muon in the learner: which weights it moves and how far, what it keeps, and what a plan counts for it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from areal_mesh.learner.trainer import Trainer
from areal_mesh.planning.memory import learner_memory
from areal_mesh.planning.shapes import MODELS
from tests.unit.learner_support import make_batch, settings_for, write_model

MUON = "learner.muon={momentum=0.9, rate_ratio=2}"
RATE = 1e-3
SMALL = MODELS["DeepSeek-R1-Distill-Qwen-1.5B"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def build(folder: Path, *overrides: str) -> Trainer:
    one_update = ("algorithm.minibatches=1", "learner.warmup_share=0", f"learner.learning_rate={RATE}")
    return Trainer(settings_for(folder, *one_update, "learner.weight_decay=0", *overrides))


def moved_by_a_step(trainer: Trainer) -> dict[str, Tensor]:
    before = {name: tensor.clone() for name, tensor in trainer.named_tensors()}
    trainer.step(make_batch(0))
    return {name: tensor - before[name] for name, tensor in trainer.named_tensors()}


def is_muons(name: str, tensor: Tensor) -> bool:
    return ".layers." in name and tensor.dim() == 2


def test_matrices_of_layers_move_by_as_much_in_every_direction_and_all_else_as_by_adamw(folder: Path) -> None:
    muon, adam = moved_by_a_step(build(folder, MUON)), moved_by_a_step(build(folder))
    of_layers = {name for name, tensor in muon.items() if is_muons(name, tensor)}
    assert len(of_layers) >= 7
    assert all(torch.equal(muon[name], adam[name]) for name in muon.keys() - of_layers)
    for name in of_layers:
        values = torch.linalg.svdvals(muon[name])
        longest = 2 * RATE * 0.2 * max(muon[name].shape) ** 0.5
        assert 0.6 * longest < values.max() < 1.25 * longest, name
        assert values.max() < 3 * values.median() or values.median() < 1e-3 * values.max(), (
            "or its gradient is of low rank"
        )


def test_it_keeps_one_moment_of_a_matrix_and_forgets_it_when_a_stage_says_so(folder: Path) -> None:
    trainer = build(folder, MUON)
    kinds = {name.rpartition(".")[2] for name in trainer.optimizer.state_tensors()}
    assert kinds == {"mean", "exp_avg", "exp_avg_sq", "step"}
    trainer.step(make_batch(0))
    means = [value for name, value in trainer.optimizer.state_tensors().items() if name.endswith(".mean")]
    assert all(mean.any() for mean in means)
    trainer.restart(optimizer=True, reference=False)
    means = [value for name, value in trainer.optimizer.state_tensors().items() if name.endswith(".mean")]
    assert means
    assert not any(mean.any() for mean in means)


def test_adapters_are_matrices_too(folder: Path) -> None:
    trainer = build(folder, MUON, "learner.lora={rank=2}")
    assert {name.rpartition(".")[2] for name in trainer.optimizer.state_tensors()} == {"mean"}


def test_a_plan_counts_one_moment_for_the_layers() -> None:
    adam, muon = (learner_memory(SMALL, 1, 8192, False, 0, muon=muon) for muon in (False, True))
    assert adam.optimizer - muon.optimizer == 4 * SMALL.layer_parameters
    assert adam.total - muon.total == adam.optimizer - muon.optimizer
