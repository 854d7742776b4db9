"""Losses: what they report, and what holds at the edges; `test_learner_algorithms` has their formulas."""

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from areal_mesh.learner.losses.figures import TokenFigures, combine
from areal_mesh.learner.losses.inputs import LossInputs, LossOutputs
from areal_mesh.learner.losses.table import LOSSES, build_loss
from areal_mesh.runtime.settings.kl import KlLossSettings
from areal_mesh.runtime.settings.losses import LossSettings


def evaluate(
    name: str, now: Tensor, proximal: Tensor, behaviour: Tensor, advantages: Tensor, tokens: int, **options: Any
) -> LossOutputs:
    """A loss over one response of `now.numel()` tokens, in a minibatch of `tokens` tokens."""
    settings = TypeAdapter[LossSettings](LossSettings).validate_python({"type": name, **options})
    weights = torch.full_like(behaviour, 1.0 / tokens)
    lengths = torch.tensor([behaviour.numel()] if behaviour.numel() else [], dtype=torch.int64)
    return build_loss(settings)(LossInputs(now, behaviour, proximal, None, advantages, weights, lengths))


def gradient_of(outputs: LossOutputs, leaf: Tensor) -> Tensor:
    outputs.loss.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return leaf.grad


SAME_WITHOUT_STALENESS = ("decoupled_ppo", "truncated_importance_sampling")


@pytest.mark.parametrize("name", SAME_WITHOUT_STALENESS)
def test_without_staleness_a_decoupled_loss_is_ppo_number_for_number(name: str) -> None:
    now, old, advantages = torch.randn(3, 40, generator=torch.Generator().manual_seed(4)).unbind()
    found = []
    for kind in ("ppo", name):
        leaf = now.clone().requires_grad_()
        outputs = evaluate(kind, leaf, old, old, advantages, 50, dual_clip=3.0)
        shared = [outputs.figures.mean(figure) for figure in ("ratio_mean", "policy_kl", "clip_fraction")]
        found.append((outputs.loss.item(), shared, gradient_of(outputs, leaf).tolist()))
    assert found[0] == found[1]


def test_a_clipped_token_gives_no_gradient_and_is_counted_by_its_side() -> None:
    now = torch.tensor([0.5, -0.5, 0.5, -0.5, 0.25]).requires_grad_()
    advantages = torch.tensor([1.0, 1, -1, -1, 1])
    outputs = evaluate("ppo", now, torch.zeros(5), torch.zeros(5), advantages, 5, clip_high=0.4)
    figures = outputs.figures.values()
    assert [bool(value) for value in gradient_of(outputs, now)] == [False, True, True, False, True]
    assert (figures["clip_fraction"], figures["clip_fraction_low"], figures["clip_fraction_high"]) == (0.4, 0.2, 0.2)


def test_a_dual_clip_bounds_what_an_unlikely_bad_token_loses() -> None:
    now = torch.tensor([2.0, 0.5]).requires_grad_()
    outputs = evaluate("ppo", now, torch.zeros(2), torch.zeros(2), -torch.ones(2), 2, dual_clip=3.0)
    assert outputs.loss.item() == pytest.approx((3.0 + math.exp(0.5)) / 2)
    assert outputs.figures.mean("dual_clip_fraction") == 0.5
    assert [bool(value) for value in gradient_of(outputs, now)] == [False, True]


@pytest.mark.parametrize(
    ("name", "option", "figure"),
    [
        ("decoupled_ppo", "behaviour_weight_cap", "masked_share"),
        ("truncated_importance_sampling", "weight_cap", "truncated_share"),
    ],
)
def test_a_weight_over_the_cap_is_counted(name: str, option: str, figure: str) -> None:
    proximal = torch.tensor([0.0, 0.5, 1.0, 2.0])
    outputs = evaluate(name, proximal, proximal, torch.zeros(4), torch.ones(4), 4, **{option: 2.0})
    assert outputs.figures.mean(figure) == 0.5
    assert outputs.figures.values()["importance_weight_max"] == pytest.approx(math.exp(2))


def test_dppo_masks_by_probability_and_by_the_direction() -> None:
    now = torch.tensor([0.9, 0.9, 0.2, 0.2, 0.6]).log().requires_grad_()
    old, advantages = torch.full((5,), 0.5).log(), torch.tensor([1.0, -1, 1, -1, 1])
    outputs = evaluate("dppo", now, old, old, advantages, 5, squared_log_ratio=0.0)
    assert [bool(value) for value in gradient_of(outputs, now)] == [False, True, True, False, True]
    figures = outputs.figures.values()
    assert (figures["masked_share"], figures["masked_share_low"], figures["masked_share_high"]) == (0.4, 0.2, 0.2)


@pytest.mark.parametrize("gap", [200.0, -200.0])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_hopeless_ratio_keeps_loss_and_gradient_finite(name: str, gap: float) -> None:
    now = torch.tensor([-gap, -gap]).requires_grad_()
    outputs = evaluate(name, now, torch.zeros(2), now.detach() + gap, torch.tensor([1.0, -1.0]), 2)
    assert gradient_of(outputs, now).isfinite().all()
    assert math.isfinite(outputs.loss.item())
    assert all(math.isfinite(value) for value in outputs.figures.values().values())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_advantages_of_zero_give_no_gradient_of_the_policy(name: str) -> None:
    now, old = torch.full((2, 6), -1.0).unbind()
    leaf = now.clone().requires_grad_()
    assert not gradient_of(evaluate(name, leaf, old, old, torch.zeros(6), 6), leaf).any()


def test_shares_of_micro_batches_add_up_to_the_minibatch() -> None:
    generator = torch.Generator().manual_seed(0)
    now, proximal, behaviour, advantages = torch.randn(4, 12, generator=generator).unbind()
    whole = evaluate("decoupled_ppo", now, proximal, behaviour, advantages, 12, behaviour_weight_cap=2.0)
    halves = [
        evaluate(
            "decoupled_ppo", now[part], proximal[part], behaviour[part], advantages[part], 12, behaviour_weight_cap=2.0
        )
        for part in (slice(0, 5), slice(5, 12))
    ]
    torch.testing.assert_close(halves[0].loss + halves[1].loss, whole.loss)
    together = combine([half.figures for half in halves])
    assert together.tokens == whole.figures.tokens == 12
    assert together.values() == pytest.approx(whole.figures.values())


def test_an_empty_micro_batch_counts_for_nothing() -> None:
    nothing = torch.empty(0)
    for name in LOSSES:
        outputs = evaluate(name, nothing, nothing, nothing, nothing, 3)
        assert outputs.loss.item() == 0.0
        assert outputs.figures.tokens == 0
        assert set(outputs.figures.values().values()) == {0.0}


@pytest.mark.parametrize(("ratio", "rejected"), [(4.9, False), (5.1, True), (math.nan, True)])
def test_a_minibatch_is_rejected_by_its_mean_ratio(ratio: float, rejected: bool) -> None:
    ten = torch.tensor(10.0, dtype=torch.float64)
    assert TokenFigures(ten, {"ratio_mean": ten * ratio}, {}).is_rejected is rejected


def test_a_kl_term_brings_its_figure() -> None:
    now, reference = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])
    settings = TypeAdapter[LossSettings](LossSettings).validate_python({"type": "ppo"})
    loss = build_loss(settings, KlLossSettings(estimator="k2"))
    inputs = LossInputs(now, now, None, reference, torch.zeros(2), torch.full((2,), 0.5), torch.tensor([2]))
    assert loss(inputs).figures.mean("kl_loss") == pytest.approx((0.5**2 + 1.0) / 4)
