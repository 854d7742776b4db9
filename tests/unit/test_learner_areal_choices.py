"""Where AReaL v0.1.1 does otherwise: its way by setting, ours by default; and a cut by no order of the batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from areal_mesh.learner.model.optimizer import Warmup, warmup_of
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import load_settings
from tests.unit.learner_support import make_batch, settings_for, write_model

NO_REFERENCE = "algorithm.advantage.kl_coefficient=0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def build(folder: Path, *overrides: str) -> Trainer:
    return Trainer(settings_for(folder, *overrides))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.named_tensors()}


def figure(result: StepResult, name: str) -> float:
    return result.figures[name]


def test_one_bad_micro_batch_is_zeroed_alone_where_the_settings_ask_for_areals_way(folder: Path) -> None:
    batch = make_batch(0)
    first = int(batch.response_lengths[0])
    far = batch.behaviour_log_probs.clone()
    far[:first] -= 12
    bad, sizes = replace(batch, behaviour_log_probs=far), ("algorithm.minibatches=1", "learner.weight_decay=0")
    alone = ("learner.max_tokens_per_micro_batch=1", "algorithm.rejected_part=micro_batch")
    result = build(folder, NO_REFERENCE, *sizes, *alone).step(bad)
    assert (figure(result, "rejected_minibatches"), figure(result, "rejected_micro_batches")) == (0, 1)
    # What is left counts as it would have: the gradient is that of the batch whose first response has no advantage.
    trainer = build(folder, NO_REFERENCE, *sizes, *alone)
    estimate = trainer._advantage

    def without_first(inputs: Any) -> Any:
        outputs = estimate(inputs)
        outputs.advantages[:first] = 0
        return outputs

    without_first.needs_reference = False  # type: ignore[attr-defined]
    trainer._advantage = without_first  # type: ignore[assignment]
    assert figure(result, "grad_norm") == pytest.approx(figure(trainer.step(batch), "grad_norm"), rel=1e-4)
    whole = build(folder, NO_REFERENCE, *sizes, "learner.max_tokens_per_micro_batch=1").step(bad)
    assert (figure(whole, "rejected_minibatches"), figure(whole, "rejected_micro_batches")) == (1, 0)
    assert figure(whole, "grad_norm") == 0


def test_a_permuted_batch_is_the_same_step(folder: Path) -> None:
    batch = make_batch(3)
    # Of one length each, so that nothing but the order could tell minibatches apart.
    lengths, tokens = torch.full((12,), 6), torch.randint(0, 32, (12, 8), generator=torch.Generator().manual_seed(1))
    found = []
    for order in (torch.arange(12), torch.randperm(12, generator=torch.Generator().manual_seed(2))):
        moved = replace(
            batch,
            token_ids=tokens[order].flatten(),
            sequence_lengths=lengths + 2,
            prompt_lengths=torch.full((12,), 2),
            behaviour_log_probs=torch.full((72,), -3.4),
            token_versions=torch.zeros(72, dtype=torch.int64),
            rewards=batch.rewards[order],
            group_index=batch.group_index[order],
        )
        trainer = build(folder, NO_REFERENCE)
        trainer.step(moved)
        found.append(weights(trainer))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=2e-5)


def test_the_warm_up_goes_by_updates_or_by_steps_from_nothing() -> None:
    by_update, by_step = Warmup(6, 3), Warmup(6, 3, by_step=True)
    assert [by_update.share(update) for update in range(8)] == pytest.approx(
        [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1]
    )
    assert [by_step.share(update) for update in range(8)] == pytest.approx([0, 0, 0, 0.5, 0.5, 0.5, 1, 1])
    assert Warmup(0, 3, by_step=True).share(0) == 1


def test_areals_preset_has_areals_ways() -> None:
    areal, ours = load_settings("distill-1.5b-1node"), load_settings("trial")
    assert (areal.algorithm.rejected_part, ours.algorithm.rejected_part) == ("micro_batch", "minibatch")
    assert (warmup_of(areal).by_step, warmup_of(ours).by_step) == (True, False)
