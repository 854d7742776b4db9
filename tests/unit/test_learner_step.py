"""A training step on one rank: what it changes, what it reports, what it leaves out."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from areal_mesh.learner.advantages.table import ADVANTAGES
from areal_mesh.learner.batches.batch import InvalidBatchError
from areal_mesh.learner.losses.table import LOSSES
from areal_mesh.learner.model.optimizer import warmup_updates
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.made import FOLDER_MARK
from tests.unit.learner_support import build, count_passes, figure, make_batch, settings_for, weights, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


DECOUPLED = "algorithm.loss.type=decoupled_ppo"
NO_REFERENCE = "algorithm.advantage.kl_coefficient=0"


def without_seconds(result: StepResult) -> StepResult:
    return replace(result, seconds={})


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("advantage", sorted(ADVANTAGES))
def test_a_step_moves_the_weights_and_commits_a_version(folder: Path, loss: str, advantage: str) -> None:
    # Each loss and each advantage in either precision.
    dtype = ("float32", "bfloat16")[(sorted(LOSSES).index(loss) + sorted(ADVANTAGES).index(advantage)) % 2]
    chosen = (f"algorithm.loss.type={loss}", f"algorithm.advantage.type={advantage}")
    trainer = build(folder, *chosen, f"model.dtype={dtype}")
    before, batch = weights(trainer), make_batch(0)
    result = trainer.step(batch)
    assert (result.policy_version, trainer.policy_version) == (1, 1)
    assert all(math.isfinite(value) for value in result.figures.values())
    assert {"loss", "grad_norm", "policy_kl", "ratio_mean", "mismatch_kl"} <= result.figures.keys()
    assert any(not torch.equal(before[name], tensor) for name, tensor in trainer.named_tensors())
    assert {tensor.dtype for _, tensor in trainer.named_tensors()} == {getattr(torch, dtype)}
    assert ("kl_to_reference" in result.figures) is (advantage in ("areal", "rloo", "reinforce_plus_plus"))


def test_the_same_seed_and_batches_give_the_same_weights_bit_by_bit(folder: Path) -> None:
    runs = []
    for _ in range(2):
        trainer = build(folder, DECOUPLED)
        results = [without_seconds(trainer.step(make_batch(seed, version=seed))) for seed in range(2)]
        runs.append((results, weights(trainer)))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], tensor) for name, tensor in runs[1][1].items())


def test_rewarded_tokens_become_likelier(folder: Path) -> None:
    trainer, batch = build(folder, NO_REFERENCE, "learner.learning_rate=3e-3"), make_batch(4)
    rewarded = (batch.rewards > 0).repeat_interleave(batch.response_lengths)
    before = response_log_probs(trainer, batch)
    trainer.step(batch)
    change = response_log_probs(trainer, batch) - before
    assert change[rewarded].mean() > change[~rewarded].mean() + 0.01


def response_log_probs(trainer: Trainer, batch: Any) -> Tensor:
    model = AutoModelForCausalLM.from_pretrained(trainer.model_folder, dtype=torch.float32)
    model.load_state_dict(dict(trainer.named_tensors()), strict=False)
    model.tie_weights()
    found, start = [], 0
    with torch.no_grad():
        for length, prompt in zip(batch.sequence_lengths.tolist(), batch.prompt_lengths.tolist(), strict=True):
            tokens = batch.token_ids[start : start + length]
            every = model(tokens[None]).logits[0].log_softmax(-1)[:-1].gather(1, tokens[1:, None])[:, 0]
            found.append(every[prompt - 1 :])
            start += length
    return torch.cat(found)


def test_the_size_of_micro_batches_changes_nothing_but_rounding(folder: Path) -> None:
    small, large = (build(folder, f"learner.max_tokens_per_micro_batch={tokens}") for tokens in (30, 1000))
    batch = make_batch(5)
    first, second = small.step(batch), large.step(batch)
    assert figure(first, "micro_batches") > figure(second, "micro_batches") == 4
    assert figure(first, "loss") == pytest.approx(figure(second, "loss"), abs=1e-5)
    torch.testing.assert_close(weights(small), weights(large), rtol=1e-3, atol=2e-5)


def test_ppo_without_a_reference_makes_one_pass_over_the_tokens(folder: Path, monkeypatch: Any) -> None:
    trainer, batch = build(folder, NO_REFERENCE), make_batch(0)
    passed = count_passes(monkeypatch)
    result = trainer.step(batch)
    assert sum(passed) == batch.behaviour_log_probs.numel()
    assert "kl_to_reference" not in result.figures
    assert "reference" not in result.seconds
    assert "proximal" not in result.seconds


def test_the_proximal_pass_leaves_the_first_minibatch_to_its_training_pass(folder: Path, monkeypatch: Any) -> None:
    trainer, batch = build(folder, NO_REFERENCE, DECOUPLED), make_batch(0)
    passed = count_passes(monkeypatch)
    trainer.step(batch)
    assert 1.6 < sum(passed) / batch.behaviour_log_probs.numel() < 1.9


def test_behaviour_from_the_policy_itself_has_no_mismatch_and_no_weight(folder: Path) -> None:
    trainer, batch = build(folder, DECOUPLED), make_batch(6)
    result = trainer.step(replace(batch, behaviour_log_probs=response_log_probs(trainer, batch)))
    assert figure(result, "mismatch_kl") == pytest.approx(0, abs=1e-9)
    assert figure(result, "importance_weight_mean") == pytest.approx(1, abs=1e-4)
    assert figure(result, "kl_to_reference") == pytest.approx(0, abs=1e-5)


def test_stale_tokens_are_left_out_of_the_fresh_mismatch(folder: Path) -> None:
    batch = make_batch(0)
    trainer = build(folder, DECOUPLED)
    trainer.step(batch)
    result = trainer.step(batch)
    assert "mismatch_kl" not in result.figures
    assert "mismatch_kl_all" in result.figures


def test_a_minibatch_far_from_its_behaviour_policy_is_zeroed(folder: Path) -> None:
    trainer, batch = build(folder, NO_REFERENCE, "learner.weight_decay=0"), make_batch(0)
    before = weights(trainer)
    result = trainer.step(replace(batch, behaviour_log_probs=batch.behaviour_log_probs - 12))
    assert figure(result, "rejected_minibatches") == 4
    assert figure(result, "grad_norm") == 0.0
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.named_tensors())


def test_a_gradient_that_is_no_number_is_not_applied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = build(folder, NO_REFERENCE)
    before, forward = weights(trainer), PolicyModel.forward

    def with_broken_gradient(self: PolicyModel, micro_batch: Any) -> Tensor:
        log_probs = forward(self, micro_batch)
        return log_probs + 0.0 * (0.0 * log_probs).sqrt()

    monkeypatch.setattr(PolicyModel, "forward", with_broken_gradient)
    result = trainer.step(make_batch(0))
    assert figure(result, "skipped_updates") == 4
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.named_tensors())


@pytest.mark.parametrize("advantage", sorted(ADVANTAGES))
def test_a_batch_of_equal_rewards_makes_a_version_and_moves_nothing(folder: Path, advantage: str) -> None:
    trainer = build(folder, DECOUPLED, f"algorithm.advantage.type={advantage}")
    batch = make_batch(0)
    trainer.step(batch)
    before = {name: tensor.clone() for name, tensor in trainer.state_tensors(with_reference=True).items()}
    updates = trainer.optimizer.updates
    result = trainer.step(replace(batch, rewards=torch.full_like(batch.rewards, -5.0)))
    assert (result.policy_version, trainer.policy_version) == (2, 2)
    assert figure(result, "optimizer_updates") == 0
    after = trainer.state_tensors(with_reference=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert trainer.optimizer.updates == updates, "the warm-up counts updates"
    assert "loss" not in result.figures, "nothing was measured by a pass that was not made"
    assert "proximal" not in result.seconds


def test_rewards_beyond_the_clip_on_one_side_are_equal(folder: Path) -> None:
    trainer, batch = build(folder, "algorithm.reward_clip=1.0"), make_batch(0)
    rewards = torch.arange(2.0, 2.0 + len(batch)).double()
    assert figure(trainer.step(replace(batch, rewards=rewards)), "optimizer_updates") == 0
    rewards[3] = -2.0
    assert figure(trainer.step(replace(batch, rewards=rewards)), "optimizer_updates") == 4


@pytest.mark.parametrize(("advantage", "updates"), [("areal", 4), ("grpo", 0)])
def test_groups_of_equal_rewards_that_differ_from_each_other_say_something_to_areals_estimate_alone(
    folder: Path, advantage: str, updates: int
) -> None:
    trainer, batch = build(folder, f"algorithm.advantage.type={advantage}"), make_batch(0)
    # A mean of seven such rewards is not exactly one of them.
    result = trainer.step(replace(batch, rewards=torch.where(batch.group_index == 1, 0.1, -0.3).double()))
    assert figure(result, "optimizer_updates") == updates


def test_equal_rewards_update_at_full_size_where_the_settings_ask_for_areals_way(folder: Path) -> None:
    trainer = build(folder, "algorithm.update_on_equal_rewards=true", "learner.weight_decay=0.0")
    before, batch = weights(trainer), make_batch(0)
    result = trainer.step(replace(batch, rewards=torch.full_like(batch.rewards, 5.0)))
    assert figure(result, "optimizer_updates") == 4
    assert figure(result, "return_std") < 0.1
    assert any(not torch.equal(before[name], tensor) for name, tensor in trainer.named_tensors())


def test_an_unfit_batch_changes_nothing(folder: Path) -> None:
    trainer, batch = build(folder), make_batch(0, version=5)
    with pytest.raises(InvalidBatchError, match="learner is at version 0"):
        trainer.step(batch)
    assert trainer.policy_version == 0


def test_fewer_responses_than_minibatches_and_a_single_token_are_learned_from(folder: Path) -> None:
    result = build(folder, "algorithm.update_on_equal_rewards=true").step(make_batch(8, sequences=1))
    assert figure(result, "micro_batches") == 1
    assert math.isfinite(figure(result, "loss"))


def test_a_restart_forgets_moments_warms_up_again_and_moves_the_reference(folder: Path) -> None:
    trainer = build(folder, "learner.warmup_share=0.03")
    rates = [figure(trainer.step(make_batch(seed)), "learning_rate") for seed in range(2)]
    assert rates == pytest.approx([1e-3 * 4 / 8, 1e-3])
    moved = figure(trainer.step(make_batch(9)), "kl_to_reference")
    trainer.restart(optimizer=True, reference=True)
    assert trainer.optimizer.updates == 0
    assert not any(tensor.any() for tensor in trainer.optimizer.state_tensors().values())
    assert trainer.reference_version == 3
    batch = make_batch(9)
    result = trainer.step(replace(batch, behaviour_log_probs=response_log_probs(trainer, batch)))
    assert figure(result, "kl_to_reference") == pytest.approx(0, abs=1e-5)
    assert moved != pytest.approx(0, abs=1e-5)
    assert figure(result, "learning_rate") == pytest.approx(1e-3 * 4 / 8)


def test_a_restart_of_nothing_changes_nothing(folder: Path) -> None:
    trainer = build(folder)
    trainer.step(make_batch(0))
    trainer.restart(optimizer=False, reference=False)
    assert (trainer.optimizer.updates, trainer.reference_version) == (4, 0)


def test_updates_too_small_for_bfloat16_are_not_lost(folder: Path) -> None:
    trainer = build(folder, "model.dtype=bfloat16", "learner.learning_rate=1e-5")
    first = {name: tensor.clone() for name, tensor in trainer.state_tensors(False).items()}
    trainer.step(make_batch(0))
    after = trainer.state_tensors(False)
    name = "policy.model.layers.0.mlp.up_proj.weight"
    assert after[name].dtype == torch.float32
    assert 0 < (after[name] - first[name]).abs().max() < 1e-4


def test_an_export_is_loaded_by_transformers_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / FOLDER_MARK).write_text("{}", encoding="utf-8")
    trainer = build(folder)
    trainer.step(make_batch(0))
    for _ in range(2):
        trainer.save_hf(str(tmp_path / "export"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype="auto")
    found = dict(loaded.named_parameters())
    assert all(torch.equal(found[name], tensor) for name, tensor in trainer.named_tensors())
    assert (tmp_path / "export" / "tokenizer.json").is_file()
    assert not (tmp_path / "export" / FOLDER_MARK).exists(), "trained weights are not what a recipe made"
    assert [path.name for path in tmp_path.iterdir()] == ["export"], "nothing is left beside it"


def test_warm_up_is_a_share_of_the_longest_stage(folder: Path) -> None:
    longest = (f"stages.1.max_steps={steps}" for steps in (55, 100, 101))
    chosen = [settings_for(folder, "learner.warmup_share=0.02", "algorithm.minibatches=3", stage) for stage in longest]
    assert [warmup_updates(settings) for settings in chosen] == [6, 6, 9]
