"""Overlong responses: the penalty's curve, the mask, and what a step does of them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from areal_mesh.learner.overlong.inputs import OverlongInputs
from areal_mesh.learner.overlong.penalty import OverlongPenalty
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings.overlong import OverlongPenaltySettings
from tests.unit.learner_support import count_passes, make_batch, settings_for, write_model

MASK = "algorithm.overlong.type=mask"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def test_the_penalty_grows_over_the_last_stretch_before_the_limit() -> None:
    lengths = torch.tensor([1, 16384, 16385, 18432, 20480, 50])
    limits = torch.tensor([20480, 20480, 20480, 20480, 20480, 100])
    outputs = OverlongPenalty(OverlongPenaltySettings())(OverlongInputs(lengths, limits, lengths == limits))
    assert outputs.rewards.tolist() == pytest.approx([0, 0, -1 / 4096, -0.5, -1, 0])
    assert outputs.trained.all(), "they are trained on"
    assert outputs.figures["overlong_penalty"] == pytest.approx(float(outputs.rewards.mean()))


def test_a_penalty_tells_responses_of_equal_rewards_apart(folder: Path) -> None:
    batch = replace(make_batch(0), rewards=torch.full((12,), 5.0, dtype=torch.float64))
    plain, shaped = (
        Trainer(settings_for(folder, "algorithm.advantage.kl_coefficient=0", *more)).step(batch)
        for more in ((), ("algorithm.overlong.type=penalty", "algorithm.overlong.buffer_share=0.9"))
    )
    assert (plain.figures["optimizer_updates"], shaped.figures["optimizer_updates"]) == (0, 4)


@pytest.mark.parametrize("advantage", ["areal", "grpo"])
def test_a_masked_response_costs_no_pass_and_its_reward_still_counts(
    folder: Path, advantage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(0)
    place = torch.arange(len(batch)) % 4
    batch = replace(batch, truncated=place == 1, rewards=torch.where(place == 2, 5.0, -5.0).double())
    trained = int(batch.response_lengths[~batch.truncated].sum())
    passed = count_passes(monkeypatch)
    chosen = (f"algorithm.advantage.type={advantage}", MASK)
    result = Trainer(settings_for(folder, *chosen)).step(batch)
    assert sum(passed) == trained * (2 if advantage == "areal" else 1)
    assert result.figures["overlong_masked"] == 0.25
    assert all(math.isfinite(value) for value in result.figures.values())
    # The only reward that differs is that of a masked response: its group's advantages are not 0.
    rewards = torch.where(torch.arange(len(batch)) == 1, 5.0, -5.0).double()
    result = Trainer(settings_for(folder, *chosen)).step(replace(batch, rewards=rewards))
    assert result.figures["optimizer_updates"] > 0


def test_a_batch_whose_every_response_is_masked_is_a_step_without_an_update(folder: Path) -> None:
    batch = replace(make_batch(0), truncated=torch.ones(12, dtype=torch.bool))
    trainer = Trainer(settings_for(folder, MASK, "algorithm.update_on_equal_rewards=true"))
    before = {name: tensor.clone() for name, tensor in trainer.named_tensors()}
    result = trainer.step(batch)
    assert (result.policy_version, result.figures["optimizer_updates"]) == (1, 0)
    assert all(math.isfinite(value) for value in result.figures.values())
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.named_tensors())


def test_advantages_of_zero_alone_are_a_step_without_an_update(folder: Path) -> None:
    batch = make_batch(0)
    # Every response that is trained on has a group of equal rewards; the others' groups differ.
    batch = replace(
        batch,
        rewards=torch.where(batch.group_index == 1, torch.arange(12).double(), 5.0),
        truncated=batch.group_index == 1,
    )
    result = Trainer(settings_for(folder, MASK, "algorithm.advantage.type=grpo")).step(batch)
    assert result.figures["optimizer_updates"] == 0
