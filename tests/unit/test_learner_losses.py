"""PPO and decoupled PPO against their formulas in plain Python, and against each other."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from areal_mesh.learner.losses.cispo import Cispo
from areal_mesh.learner.losses.decoupled_ppo import DecoupledPpo
from areal_mesh.learner.losses.figures import TokenFigures, combine
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.learner.losses.ppo import Ppo
from areal_mesh.learner.losses.table import LOSSES, build_loss
from areal_mesh.runtime.settings.losses import CispoSettings, DecoupledPpoSettings, LossSettings, PpoSettings

token = st.tuples(st.floats(-4, 0), st.floats(-4, 0), st.floats(-4, 0), st.floats(-3, 3))
tokens = st.lists(token, min_size=1, max_size=30)


def columns(rows: list[tuple[float, float, float, float]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    now, proximal, behaviour, advantage = torch.tensor(rows, dtype=torch.float32).unbind(1)
    return now, proximal, behaviour, advantage


def ppo(now: Tensor, old: Tensor, advantages: Tensor, tokens: int) -> LossOutputs:
    return Ppo(PpoSettings())(LossInputs(now, old, None, advantages, tokens))


def decoupled(
    now: Tensor, proximal: Tensor, behaviour: Tensor, advantages: Tensor, tokens: int, cap: float | None = None
) -> LossOutputs:
    loss = DecoupledPpo(DecoupledPpoSettings(behaviour_weight_cap=cap))
    return loss(LossInputs(now, behaviour, proximal, advantages, tokens))


def naive(now: Tensor, anchor: Tensor, advantages: Tensor, weights: list[float]) -> float:
    total = 0.0
    for log_prob, old, advantage, weight in zip(now, anchor, advantages, weights, strict=True):
        ratio = math.exp(log_prob.item() - old.item())
        clipped = min(max(ratio, 0.8), 1.2)
        total += weight * max(-advantage.item() * ratio, -advantage.item() * clipped)
    return total


@given(tokens)
@settings(deadline=None, max_examples=60)
def test_ppo_is_the_clipped_objective_over_the_global_token_count(rows: list[tuple[float, ...]]) -> None:
    now, old, _, advantages = columns(rows)  # type: ignore[arg-type]
    assert ppo(now, old, advantages, 100).loss.item() == pytest.approx(
        naive(now, old, advantages, [1.0] * len(rows)) / 100, rel=1e-4, abs=1e-5
    )


@given(tokens, st.none() | st.floats(0.5, 5))
@settings(deadline=None, max_examples=60)
def test_decoupled_ppo_weights_every_token_and_masks_those_over_the_cap(
    rows: list[tuple[float, ...]], cap: float | None
) -> None:
    now, proximal, behaviour, advantages = columns(rows)  # type: ignore[arg-type]
    weights = (proximal - behaviour).exp()
    kept = [0.0 if cap is not None and weight > cap else weight for weight in weights.tolist()]
    outputs = decoupled(now, proximal, behaviour, advantages, 50, cap)
    figures = outputs.figures.values()
    assert outputs.loss.item() == pytest.approx(naive(now, proximal, advantages, kept) / 50, rel=1e-4, abs=1e-4)
    assert figures["masked_share"] == pytest.approx(kept.count(0.0) / len(rows))
    assert figures["importance_weight_max"] == pytest.approx(max(weights.tolist()), rel=1e-5)


@given(tokens)
@settings(deadline=None, max_examples=40)
def test_without_staleness_both_algorithms_give_the_same_numbers(rows: list[tuple[float, ...]]) -> None:
    now, old, _, advantages = columns(rows)  # type: ignore[arg-type]
    gradients, losses = [], []
    algorithms: tuple[Callable[[Tensor], LossOutputs], ...] = (
        lambda leaf: ppo(leaf, old, advantages, 7),
        lambda leaf: decoupled(leaf, old, old, advantages, 7),
    )
    for call in algorithms:
        leaf = now.clone().requires_grad_()
        outputs = call(leaf)
        outputs.loss.backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        gradients.append(leaf.grad)
        shared = [outputs.figures.mean(name) for name in ("ratio_mean", "policy_kl", "clip_fraction")]
        losses.append((outputs.loss.item(), shared))
    assert losses[0] == losses[1]
    assert torch.equal(gradients[0], gradients[1])


def test_a_clipped_token_gives_no_gradient_and_is_counted() -> None:
    now = torch.tensor([0.5, -0.5, 0.5, -0.5]).requires_grad_()
    outputs = ppo(now, torch.zeros(4), torch.tensor([1.0, 1, -1, -1]), 4)
    outputs.loss.backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert [bool(gradient) for gradient in now.grad] == [False, True, True, False]
    assert outputs.figures.mean("clip_fraction") == 0.5


@pytest.mark.parametrize("gap", [200.0, -200.0])
def test_a_hopeless_ratio_keeps_loss_and_gradient_finite(gap: float) -> None:
    now = torch.tensor([gap, gap]).requires_grad_()
    outputs = decoupled(now, torch.zeros(2), -now.detach(), torch.tensor([1.0, -1.0]), 2)
    outputs.loss.backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert math.isfinite(outputs.loss.item())
    assert now.grad.isfinite().all()
    assert math.isfinite(outputs.figures.mean("policy_kl"))


def test_shares_of_micro_batches_add_up_to_the_minibatch() -> None:
    generator = torch.Generator().manual_seed(0)
    now, proximal, behaviour, advantages = torch.randn(4, 12, generator=generator).unbind()
    whole = decoupled(now, proximal, behaviour, advantages, 12, 2.0)
    halves = [
        decoupled(now[part], proximal[part], behaviour[part], advantages[part], 12, 2.0)
        for part in (slice(0, 5), slice(5, 12))
    ]
    torch.testing.assert_close(halves[0].loss + halves[1].loss, whole.loss)
    together = combine([half.figures for half in halves])
    assert together.tokens == whole.figures.tokens == 12
    assert together.values() == pytest.approx(whole.figures.values())


def test_an_empty_micro_batch_counts_for_nothing() -> None:
    nothing = torch.empty(0)
    for name in LOSSES:
        outputs = build_loss(settings_of(name))(LossInputs(nothing, nothing, nothing, nothing, 3))
        assert outputs.loss.item() == 0.0
        assert outputs.figures.tokens == 0
        assert set(outputs.figures.values().values()) == {0.0}


@pytest.mark.parametrize(("ratio", "rejected"), [(4.9, False), (5.1, True), (math.nan, True)])
def test_a_minibatch_is_rejected_by_its_mean_ratio(ratio: float, rejected: bool) -> None:
    ten = torch.tensor(10.0, dtype=torch.float64)
    assert TokenFigures(ten, {"ratio_mean": ten * ratio}, {}).is_rejected is rejected


def settings_of(name: str) -> LossSettings:
    return TypeAdapter[LossSettings](LossSettings).validate_python({"type": name})


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_on_policy_every_loss_is_the_plain_policy_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    log_probs, advantages = torch.randn(2, 9, generator=generator).unbind()
    leaf = log_probs.clone().requires_grad_()
    outputs = build_loss(settings_of(name))(LossInputs(leaf, log_probs, log_probs, advantages, 9))
    outputs.loss.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, -advantages / 9)
    assert outputs.figures.mean("ratio_mean") == pytest.approx(1)
    assert outputs.figures.mean("policy_kl") == pytest.approx(0, abs=1e-12)


@given(tokens)
@settings(deadline=None, max_examples=60)
def test_cispo_cuts_the_weight_and_keeps_every_tokens_gradient(rows: list[tuple[float, ...]]) -> None:
    now, _, behaviour, advantages = columns(rows)  # type: ignore[arg-type]
    leaf = now.clone().requires_grad_()
    outputs = Cispo(CispoSettings(weight_cap=2.0))(LossInputs(leaf, behaviour, None, advantages, 10))
    outputs.loss.backward()  # type: ignore[no-untyped-call]
    weights = [
        min(math.exp(row[0] - row[2]), 2.0) for row in zip(*(c.tolist() for c in (now, now, behaviour)), strict=True)
    ]
    expected = [-weight * advantage / 10 for weight, advantage in zip(weights, advantages.tolist(), strict=True)]
    assert leaf.grad is not None
    assert leaf.grad.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    over = sum(math.exp(a - b) > 2.0 for a, b in zip(now.tolist(), behaviour.tolist(), strict=True))
    assert outputs.figures.mean("clip_fraction") == pytest.approx(over / len(rows), abs=1e-6)
