"""A step that goes over its batch more than once."""

from pathlib import Path

import pytest
import torch

from areal_mesh.learner.model.optimizer import warmup_of
from areal_mesh.learner.passes.preparing import Minibatch, over
from tests.unit.learner_support import build, figure, make_batch, settings_for, weights, write_model

TWICE, ONE = "algorithm.batch_epochs=2", "algorithm.minibatches=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def test_only_the_very_first_minibatch_is_trained_on_by_the_policy_before_the_step() -> None:
    minibatches = [Minibatch([], True), Minibatch([], False)]
    assert [minibatch.is_first for minibatch in over(minibatches, 3)] == [True] + [False] * 5
    assert list(over(minibatches, 0)) == []


def test_each_epoch_is_an_update_a_minibatch_and_the_warm_up_counts_them(folder: Path) -> None:
    result = build(folder, TWICE, "algorithm.minibatches=3").step(make_batch(0))
    assert figure(result, "optimizer_updates") == 6
    settings = settings_for(folder, TWICE, "algorithm.minibatches=3", "learner.warmup_share=0.1")
    assert warmup_of(settings).updates_a_step == 6
    assert (
        warmup_of(settings).updates == 2 * warmup_of(settings_for(folder, "learner.warmup_share=0.1")).updates * 3 // 4
    )


@pytest.mark.parametrize("loss", ["ppo", "decoupled_ppo", "gspo"])
def test_every_epoch_measures_itself_against_the_policies_before_the_step(folder: Path, loss: str) -> None:
    batch = make_batch(1)
    once, twice = (build(folder, f"algorithm.loss.type={loss}", ONE, *more) for more in ((), (TWICE,)))
    first, both = once.step(batch), twice.step(batch)
    for name in ("mismatch_kl", "mismatch_kl_max"):
        if name in first.figures:
            # The same numbers, but for the last bit: how kernels add up may depend on where memory lies.
            before = pytest.approx(figure(first, name), rel=1e-12)
            assert figure(both, name) == before, "of the policy before the step alone"
    # The second epoch trains on.
    moved = [torch.cat([tensor.flatten() for tensor in weights(trainer).values()]) for trainer in (once, twice)]
    assert not torch.equal(moved[0], moved[1])
