"""Every advantage and every loss against the float64 reference of `algorithm_oracle`, and what has to hold of each."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from areal_mesh.learner import losses
from areal_mesh.learner.advantages.inputs import AdvantageInputs
from areal_mesh.learner.advantages.table import ADVANTAGES, build_advantage
from areal_mesh.learner.losses.averaging import AVERAGES, MinibatchTotals, token_weights
from areal_mesh.learner.losses.inputs import Loss, LossInputs
from areal_mesh.learner.losses.table import LOSSES, build_loss
from areal_mesh.runtime.settings.advantages import AdvantageSettings
from areal_mesh.runtime.settings.algorithm import Average
from areal_mesh.runtime.settings.kl import KlLossSettings
from areal_mesh.runtime.settings.losses import LossSettings
from tests.unit import algorithm_oracle as oracle
from tests.unit.algorithm_oracle import Batch, Response

# Options beside each kind's defaults.
ADVANTAGE_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ADVANTAGES),
    ("areal", {"kl_coefficient": 0.3}),
    ("areal", {"kl_coefficient": 0.3, "kl_estimator": "k2"}),
    ("rloo", {"kl_coefficient": 0.3, "kl_estimator": "k3"}),
    ("reinforce_plus_plus", {"kl_coefficient": 0.1, "kl_estimator": "k3"}),
]
LOSS_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES),
    ("ppo", {"clip": 0.1, "clip_high": 0.3}),
    ("ppo", {"dual_clip": 1.5}),
    ("decoupled_ppo", {"behaviour_weight_cap": 1.2}),
    ("decoupled_ppo", {"clip": 0.2, "clip_high": 0.28, "dual_clip": 3.0}),
    ("truncated_importance_sampling", {"weight_cap": 1.1, "clip_high": 0.5}),
    ("cispo", {"weight_cap": 1.2}),
    ("gspo", {"clip": 0.05, "clip_high": 0.1, "weight_cap": 1.01}),
    ("dppo", {"mask_low": 0.05, "mask_high": 0.02, "squared_log_ratio": 0.5}),
]
SEEDS = st.integers(0, 10_000)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_batch(seed: int, responses: int = 7) -> Batch:
    """Random responses of groups that lie mixed; log-probabilities of policies that are near each other."""
    random = np.random.default_rng(seed)
    batch = []
    for number in range(responses):
        behaviour = -3 * random.random(int(random.integers(1, 9)))
        near = [behaviour + 0.4 * random.standard_normal(behaviour.size) for _ in range(3)]
        advantages = random.standard_normal(behaviour.size)
        batch.append(Response(number % 3, float(random.normal()), near[0], near[1], behaviour, near[2], advantages, 9))
    return batch


def joined(batch: Batch, name: str) -> Tensor:
    return torch.from_numpy(np.concatenate([getattr(response, name) for response in batch]))


def lengths_of(batch: Batch) -> Tensor:
    return torch.tensor([response.length for response in batch])


def advantages_of(batch: Batch, name: str, options: dict[str, Any]) -> Tensor:
    chosen = TypeAdapter[AdvantageSettings](AdvantageSettings).validate_python({"type": name, **options})
    inputs = AdvantageInputs(
        rewards=torch.tensor([response.reward for response in batch], dtype=torch.float64),
        response_lengths=lengths_of(batch),
        group_index=torch.tensor([response.group for response in batch]),
        behaviour_log_probs=joined(batch, "behaviour"),
        reference_log_probs=joined(batch, "reference"),
    )
    return build_advantage(chosen)(inputs).advantages


def loss_of(name: str, options: dict[str, Any], kl: KlLossSettings | None = None) -> Loss:
    return build_loss(TypeAdapter[LossSettings](LossSettings).validate_python({"type": name, **options}), kl)


def inputs_of(batch: Batch, average: Average, whole: Batch | None = None) -> LossInputs:
    """Of some responses of a minibatch, float64; `whole` is the minibatch."""
    among = whole or batch
    totals = MinibatchTotals(
        sum(response.length for response in among), len(among), sum(response.limit for response in among)
    )
    weights = AVERAGES[average](lengths_of(batch), totals).repeat_interleave(lengths_of(batch))
    return LossInputs(
        joined(batch, "now").requires_grad_(),
        joined(batch, "behaviour"),
        joined(batch, "proximal"),
        joined(batch, "reference"),
        joined(batch, "advantages"),
        weights,
        lengths_of(batch),
    )


def by_response(values: Tensor, batch: Batch) -> Sequence[Tensor]:
    return torch.split(values, lengths_of(batch).tolist())


def evaluate(loss: Loss, inputs: LossInputs) -> tuple[float, Tensor]:
    outputs = loss(inputs)
    outputs.loss.backward()  # type: ignore[no-untyped-call]
    assert inputs.log_probs.grad is not None
    return outputs.loss.item(), inputs.log_probs.grad


@pytest.mark.parametrize(("name", "options"), ADVANTAGE_OPTIONS)
@given(SEEDS, st.integers(1, 9))
@settings(deadline=None, max_examples=15)
def test_an_advantage_is_its_formula(name: str, options: dict[str, Any], seed: int, responses: int) -> None:
    batch = make_batch(seed, responses)
    expected = np.concatenate(oracle.ADVANTAGES[name](batch, **options))
    np.testing.assert_allclose(advantages_of(batch, name, options).numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("average", sorted(AVERAGES))
@pytest.mark.parametrize(("name", "options"), LOSS_OPTIONS)
@given(SEEDS)
@settings(deadline=None, max_examples=8)
def test_a_loss_and_its_gradient_are_its_formula(
    average: Average, name: str, options: dict[str, Any], seed: int
) -> None:
    batch = make_batch(seed)
    terms = [partial(oracle.LOSSES[name], **options)]
    expected, gradients = oracle.whole_loss(batch, average, terms)
    found, gradient = evaluate(loss_of(name, options), inputs_of(batch, average))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient.numpy(), np.concatenate(gradients), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_a_kl_term_is_its_formula_beside_the_loss(estimator: Any) -> None:
    batch, kl = make_batch(3), KlLossSettings(coefficient=0.2, estimator=estimator)
    terms: list[oracle.Term] = [oracle.cispo, partial(oracle.kl_term, coefficient=0.2, estimator=estimator)]
    expected, gradients = oracle.whole_loss(batch, "responses", terms)
    loss = loss_of("cispo", {}, kl)
    assert loss.needs_reference
    found, gradient = evaluate(loss, inputs_of(batch, "responses"))
    assert found == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(gradient.numpy(), np.concatenate(gradients), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), LOSS_OPTIONS)
def test_a_loss_in_float32_is_near_its_formula(name: str, options: dict[str, Any]) -> None:
    batch = make_batch(5)
    expected, _ = oracle.whole_loss(batch, "tokens", [partial(oracle.LOSSES[name], **options)])
    inputs = inputs_of(batch, "tokens")
    single = {field: value.detach().float() for field, value in vars(inputs).items() if field != "response_lengths"}
    outputs = loss_of(name, options)(LossInputs(**single, response_lengths=inputs.response_lengths))
    assert outputs.loss.item() == pytest.approx(expected, rel=2e-6, abs=1e-6)


def replace_constant(monkeypatch: pytest.MonkeyPatch, replacement: Callable[[Tensor], Tensor]) -> None:
    """In every loss."""
    for module in [module for name, module in sys.modules.items() if name.startswith(losses.__name__)]:
        if hasattr(module, "constant"):
            monkeypatch.setattr(module, "constant", replacement)


@pytest.mark.parametrize(("name", "options"), LOSS_OPTIONS)
def test_a_loss_passes_gradcheck(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = inputs_of(make_batch(11), "tokens")
    loss = loss_of(name, options, KlLossSettings())
    # What a loss takes for a constant stays where it is while the check moves the log-probabilities.
    taken: list[Tensor] = []

    def take(values: Tensor) -> Tensor:
        taken.append(values.detach())
        return taken[-1]

    replace_constant(monkeypatch, take)
    loss(inputs)
    again = cycle(taken)
    replace_constant(monkeypatch, lambda values: next(again))
    assert torch.autograd.gradcheck(lambda now: loss(replace(inputs, log_probs=now)).loss, (inputs.log_probs,))


@pytest.mark.parametrize("average", sorted(AVERAGES))
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_where_all_policies_are_one_every_loss_is_the_plain_policy_gradient(average: Average, name: str) -> None:
    batch = [
        replace(response, proximal=response.now, behaviour=response.now, advantages=np.full(response.length, 0.3 * n))
        for n, response in enumerate(make_batch(2), start=-3)
    ]
    inputs = inputs_of(batch, average)
    loss = loss_of(name, {})
    outputs = loss(inputs)
    assert outputs.figures.mean("ratio_mean") == pytest.approx(1.0)
    _, gradient = evaluate(loss, inputs_of(batch, average))
    torch.testing.assert_close(gradient, -inputs.advantages * inputs.token_weights)


@pytest.mark.parametrize("average", sorted(AVERAGES))
@pytest.mark.parametrize(("name", "options"), LOSS_OPTIONS)
@given(SEEDS, st.permutations(range(7)), st.integers(1, 6))
@settings(deadline=None, max_examples=4)
def test_neither_order_nor_packing_changes_a_loss(
    average: Average, name: str, options: dict[str, Any], seed: int, order: Sequence[int], cut: int
) -> None:
    batch, loss = make_batch(seed), loss_of(name, options, KlLossSettings(estimator="k2"))
    whole, gradient = evaluate(loss, inputs_of(batch, average))
    parts = [[batch[place] for place in order[:cut]], [batch[place] for place in order[cut:]]]
    found = [evaluate(loss, inputs_of(part, average, batch)) for part in parts]
    assert sum(share for share, _ in found) == pytest.approx(whole, rel=1e-9, abs=1e-12)
    moved = by_response(torch.cat([gradients for _, gradients in found]), [batch[place] for place in order])
    straight = by_response(gradient, batch)
    for place, values in zip(order, moved, strict=True):
        torch.testing.assert_close(values, straight[place])


@pytest.mark.parametrize(("name", "options"), ADVANTAGE_OPTIONS)
@given(SEEDS, st.permutations(range(7)))
@settings(deadline=None, max_examples=5)
def test_the_order_of_responses_changes_no_advantage(
    name: str, options: dict[str, Any], seed: int, order: Sequence[int]
) -> None:
    batch = make_batch(seed)
    straight = by_response(advantages_of(batch, name, options), batch)
    moved = [batch[place] for place in order]
    permuted = by_response(advantages_of(moved, name, options), moved)
    for place, values in zip(order, permuted, strict=True):
        torch.testing.assert_close(values, straight[place])


def test_weights_of_a_mean_add_up_to_one_and_those_of_a_limit_to_the_filled_share() -> None:
    lengths, totals = torch.tensor([3, 1, 6]), MinibatchTotals(10, 3, 36)
    sums = {average: float(token_weights(average, lengths, totals).double().sum()) for average in AVERAGES}
    assert sums == pytest.approx({"tokens": 1.0, "responses": 1.0, "limit": 10 / 36})


def test_every_kind_has_its_formula_here() -> None:
    assert set(oracle.ADVANTAGES) == set(ADVANTAGES)
    assert set(oracle.LOSSES) == set(LOSSES)
