"""Responses without an advantage cost no pass, and the rate that falls over the schedule."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.unit.learner_support import build, count_passes, figure, make_batch, weights, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("average", ["tokens", "responses", "limit"])
def test_responses_without_an_advantage_cost_no_pass_and_count_in_every_mean(
    folder: Path, average: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(0)
    batch = replace(batch, rewards=torch.where(batch.group_index == 1, 5.0, batch.rewards))
    chosen = ("algorithm.advantage.type=grpo", f"algorithm.average={average}", "algorithm.minibatches=1")
    trainers = [build(folder, *chosen, f"algorithm.update_on_equal_rewards={each}") for each in ("true", "false")]
    passed = count_passes(monkeypatch)
    norms, tokens = [], []
    for trainer in trainers:
        norms.append(figure(trainer.step(batch), "grad_norm"))
        tokens.append(sum(passed))
        passed.clear()
    equal = [bool((batch.rewards[batch.group_index == group] == 5.0).all()) for group in range(3)]
    silent = torch.tensor(equal)[batch.group_index]
    assert tokens == [int(batch.response_lengths.sum()), int(batch.response_lengths[~silent].sum())]
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)
    torch.testing.assert_close(weights(trainers[1]), weights(trainers[0]), rtol=1e-4, atol=1e-6)


def test_with_a_kl_term_every_response_has_its_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch(0)
    batch = replace(batch, rewards=torch.where(batch.group_index == 1, 5.0, batch.rewards))
    chosen = (
        "algorithm.loss.type=ppo",
        "algorithm.max_staleness=0",
        "algorithm.advantage.type=grpo",
        "algorithm.kl_loss.coefficient=0.1",
    )
    trainer = build(folder, *chosen)
    passed = count_passes(monkeypatch)
    trainer.step(batch)
    assert sum(passed) == 2 * batch.behaviour_log_probs.numel(), "the reference's and the training pass"


def test_the_rate_falls_over_the_schedule_to_what_is_to_be_left_of_it(folder: Path) -> None:
    stages = ("stages.0.max_steps=1", "stages.1.max_steps=1", "stages.2.max_steps=2")
    trainer = build(
        folder, "learner.warmup_share=0", "learner.learning_rate=1e-3", "learner.end_rate_share=0.2", *stages
    )
    rates = [figure(trainer.step(make_batch(number)), "learning_rate") for number in range(5)]
    assert rates == pytest.approx([1e-3, 0.8e-3, 0.6e-3, 0.4e-3, 0.2e-3])
    trainer.restart(optimizer=True, reference=False)
    assert figure(trainer.step(make_batch(5)), "learning_rate") == pytest.approx(0.2e-3), (
        "a stage does not begin it anew"
    )
