"""Training in float16 on one rank: gradients, overflows that are skipped, what ends a run, and resumption."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.model.finite import NotFinite
from areal_mesh.learner.model.optimizer import Optimizer
from areal_mesh.learner.model.policy import UnusableModel
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.trainer import Trainer
from tests.unit.learner_support import figure, make_batch, settings_for, weights, write_model

NO_REFERENCE = "algorithm.advantage.kl_coefficient=0"
SCALE = "learner.loss_scale."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def build(folder: Path, *overrides: str, dtype: str = "float16") -> Trainer:
    return Trainer(settings_for(folder, f"model.dtype={dtype}", "algorithm.minibatches=1", *overrides))


def train(trainer: Trainer, steps: int) -> list[StepResult]:
    first = trainer.policy_version
    return [trainer.step(make_batch(version, version=version)) for version in range(first, first + steps)]


def gradients(monkeypatch: pytest.MonkeyPatch, trainer: Trainer) -> dict[str, Tensor]:
    """Of a first step, as the optimizer gets them."""
    found: dict[str, Tensor] = {}
    update = Optimizer.update

    def kept(self: Optimizer, *arguments: Any, **named: Any) -> Any:
        found.update(
            (name, weight.grad.clone()) for name, weight in trainer._masters.named.items() if weight.grad is not None
        )
        return update(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Optimizer, "update", kept)
        train(trainer, 1)
    return found


def error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Largest relative error of a tensor, by its norm."""
    assert found.keys() == exact.keys()
    return max(float((found[name] - exact[name]).norm() / exact[name].norm()) for name in exact)


def test_gradients_in_float16_are_near_those_in_float32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = gradients(monkeypatch, build(folder, NO_REFERENCE, dtype="float32"))
    rounded = gradients(monkeypatch, build(folder, NO_REFERENCE, dtype="bfloat16"))
    half = gradients(monkeypatch, build(folder, NO_REFERENCE, f"{SCALE}initial=1024"))
    assert {tensor.dtype for tensor in half.values()} == {torch.float32}
    assert error(half, exact) < 0.01
    assert error(half, exact) < error(rounded, exact)


def test_a_scale_that_is_too_small_loses_gradients(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = gradients(monkeypatch, build(folder, NO_REFERENCE, dtype="float32"))
    small = (f"{SCALE}minimum=1e-4", f"{SCALE}initial=1e-4")
    assert error(gradients(monkeypatch, build(folder, NO_REFERENCE, *small)), exact) > 0.05


def test_the_weights_of_a_float16_run_go_where_those_of_a_float32_run_go(folder: Path) -> None:
    exact, half = build(folder, dtype="float32"), build(folder, f"{SCALE}initial=1024")
    before = weights(exact)
    train(exact, 4)
    results = train(half, 4)
    assert [figure(result, "skipped_updates") for result in results] == [0, 0, 0, 0]
    moved = {name: tensor - before[name] for name, tensor in weights(exact).items()}
    masters = half.state_tensors(with_reference=False)
    for name, change in moved.items():
        assert float((masters[f"policy.{name}"] - before[name] - change).norm()) < 0.2 * float(change.norm()), name
    assert {tensor.dtype for _, tensor in half.named_tensors()} == {torch.float16}
    assert all(torch.equal(tensor, masters[f"policy.{name}"].half()) for name, tensor in half.named_tensors())


def test_an_overflow_is_skipped_lowers_the_scale_and_then_trains(folder: Path) -> None:
    trainer = build(folder, NO_REFERENCE, f"{SCALE}initial={2.0**26}", f"{SCALE}growth_interval=100")
    before = {name: tensor.clone() for name, tensor in trainer.state_tensors(with_reference=False).items()}
    first, second = train(trainer, 2)
    for result, scale in ((first, 2.0**26), (second, 2.0**25)):
        assert (figure(result, "skipped_updates"), figure(result, "optimizer_updates")) == (1, 0)
        assert figure(result, "loss_scale") == scale, "the first overflow is forgiven"
        assert "grad_norm" not in result.figures, "there is none"
        assert figure(result, "loss") != 0
    assert (second.policy_version, trainer.optimizer.updates) == (2, 2), "a version and an update each, as any other"
    after = trainer.state_tensors(with_reference=False)
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["loss_scale"]
    results = train(trainer, 14)
    assert sum(figure(result, "optimizer_updates") for result in results) > 5
    assert figure(results[-1], "loss_scale") < 2.0**24
    assert figure(results[-1], "grad_norm") > 0


def test_the_scale_grows_with_updates_and_begins_anew_with_the_optimizer(folder: Path) -> None:
    trainer = build(folder, NO_REFERENCE, f"{SCALE}initial=16", f"{SCALE}growth_interval=3")
    scales = [figure(result, "loss_scale") for result in train(trainer, 4)]
    assert scales == [16, 16, 32, 32]
    trainer.restart(optimizer=False, reference=True)
    assert [figure(result, "loss_scale") for result in train(trainer, 2)] == [32, 64]
    trainer.restart(optimizer=True, reference=False)
    assert [figure(result, "loss_scale") for result in train(trainer, 1)] == [16]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_arithmetic_has_no_loss_scale(folder: Path, dtype: str) -> None:
    trainer = build(folder, NO_REFERENCE, dtype=dtype)
    assert "loss_scale" not in train(trainer, 1)[0].figures
    assert "loss_scale" not in trainer.state_tensors(with_reference=False)


def test_a_rejected_minibatch_says_nothing_of_the_scale(folder: Path) -> None:
    trainer = build(folder, NO_REFERENCE, f"{SCALE}initial={2.0**26}", f"{SCALE}hysteresis=1")
    batch = make_batch(0)
    batch.behaviour_log_probs.sub_(12)
    result = trainer.step(batch)
    assert (figure(result, "rejected_minibatches"), figure(result, "loss_scale")) == (1, 2.0**26)


def test_an_overflow_at_the_minimum_names_the_tensor_and_changes_nothing(folder: Path) -> None:
    trainer = build(folder, NO_REFERENCE, f"{SCALE}initial={2.0**26}", f"{SCALE}minimum={2.0**26}")
    before = weights(trainer)
    message = r"the gradient of model\.\S+ and of \d+ others overflows float16 at learner\.loss_scale\.minimum = 6\.7"
    with pytest.raises(NotFinite, match=message):
        train(trainer, 1)
    assert trainer.policy_version == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.named_tensors())


@torch.no_grad()
def too_large(weights: Iterable[tuple[str, Tensor]]) -> None:
    # Finite itself, and beyond 65,504 once multiplied.
    dict(weights)["model.layers.1.mlp.down_proj.weight"].fill_(60000)


@torch.no_grad()
def no_number(weights: Iterable[tuple[str, Tensor]]) -> None:
    dict(weights)["model.layers.0.self_attn.q_proj.bias"][3] = float("nan")


@pytest.mark.parametrize(
    ("change", "module"),
    [(too_large, r"model\.layers\.1\.mlp\.down_proj"), (no_number, r"model\.layers\.0\.self_attn\.q_proj")],
)
def test_activations_that_overflow_are_an_error_that_names_the_module(
    folder: Path, change: Callable[[Iterable[tuple[str, Tensor]]], None], module: str
) -> None:
    trainer = build(folder, NO_REFERENCE, f"{SCALE}initial=16")
    change(trainer._policy.named_weights())
    with pytest.raises(NotFinite, match=f"first in the output of {module}: .*set model.dtype"):
        train(trainer, 1)
    assert trainer.policy_version == 0


def test_a_reference_that_overflows_is_an_error(folder: Path) -> None:
    trainer = build(folder)
    assert trainer._reference is not None
    too_large(trainer._reference.named_weights())
    with pytest.raises(NotFinite, match=r"of the KL reference are NaN or infinite at \d+ of \d+ tokens"):
        train(trainer, 1)


def test_a_resumed_run_has_the_scales_and_the_weights_of_one_that_never_stopped(folder: Path, tmp_path: Path) -> None:
    chosen = (f"{SCALE}initial={2.0**22}", f"{SCALE}growth_interval=2", "algorithm.minibatches=4")
    whole, first = build(folder, *chosen), build(folder, *chosen)
    expected = [figure(result, "loss_scale") for result in train(whole, 6)]
    assert len(set(expected)) > 2, "it moves"
    train(first, 3)
    store = CheckpointStore(tmp_path, 2, first)
    store.save(step=3, stage="8k")
    store.close()
    resumed = build(folder, *chosen)
    store = CheckpointStore(tmp_path, 2, resumed)
    store.load_latest()
    store.close()
    assert [figure(result, "loss_scale") for result in train(resumed, 3)] == expected[3:]
    mine, theirs = resumed.state_tensors(True), whole.state_tensors(True)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_a_start_model_beyond_float16_is_refused_by_the_weights_name(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(write_model(tmp_path / "model"))
    with torch.no_grad():
        model.get_parameter("model.layers.0.mlp.up_proj.weight")[1, 2] = 1e5
    model.save_pretrained(tmp_path / "wide")
    with pytest.raises(
        UnusableModel, match=r"layers\.0\.mlp\.up_proj\.weight holds NaN or infinity as float16; .*dtype"
    ):
        build(tmp_path / "wide")
    assert build(tmp_path / "wide", dtype="bfloat16").policy_version == 0
