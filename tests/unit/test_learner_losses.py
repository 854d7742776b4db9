"""PPO and decoupled PPO against their formulas in plain Python, and against each other."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from areal_mesh.learner.losses.decoupled_ppo import decoupled_ppo_loss
from areal_mesh.learner.losses.ppo import ppo_loss
from areal_mesh.learner.losses.statistics import LossStatistics, combine

token = st.tuples(st.floats(-4, 0), st.floats(-4, 0), st.floats(-4, 0), st.floats(-3, 3))
tokens = st.lists(token, min_size=1, max_size=30)


def columns(rows: list[tuple[float, float, float, float]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    now, proximal, behaviour, advantage = torch.tensor(rows, dtype=torch.float32).unbind(1)
    return now, proximal, behaviour, advantage


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
    loss, _ = ppo_loss(now, old, advantages, 100)
    assert loss.item() == pytest.approx(naive(now, old, advantages, [1.0] * len(rows)) / 100, rel=1e-4, abs=1e-5)


@given(tokens, st.none() | st.floats(0.5, 5))
@settings(deadline=None, max_examples=60)
def test_decoupled_ppo_weights_every_token_and_masks_those_over_the_cap(
    rows: list[tuple[float, ...]], cap: float | None
) -> None:
    now, proximal, behaviour, advantages = columns(rows)  # type: ignore[arg-type]
    weights = (proximal - behaviour).exp()
    kept = [0.0 if cap is not None and weight > cap else weight for weight in weights.tolist()]
    loss, statistics = decoupled_ppo_loss(now, proximal, behaviour, advantages, 50, weight_cap=cap)
    assert loss.item() == pytest.approx(naive(now, proximal, advantages, kept) / 50, rel=1e-4, abs=1e-4)
    assert statistics.masked_share == pytest.approx(kept.count(0.0) / len(rows))
    assert statistics.importance_weight_max == pytest.approx(max(weights.tolist()), rel=1e-5)


@given(tokens)
@settings(deadline=None, max_examples=40)
def test_without_staleness_both_algorithms_give_the_same_numbers(rows: list[tuple[float, ...]]) -> None:
    now, old, _, advantages = columns(rows)  # type: ignore[arg-type]
    gradients, losses = [], []
    algorithms: tuple[Callable[[Tensor], tuple[Tensor, LossStatistics]], ...] = (
        lambda leaf: ppo_loss(leaf, old, advantages, 7),
        lambda leaf: decoupled_ppo_loss(leaf, old, old, advantages, 7),
    )
    for call in algorithms:
        leaf = now.clone().requires_grad_()
        loss, statistics = call(leaf)
        loss.backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        gradients.append(leaf.grad)
        losses.append((loss.item(), statistics.ratio_mean, statistics.kl, statistics.clip_fraction))
    assert losses[0] == losses[1]
    assert torch.equal(gradients[0], gradients[1])


def test_a_clipped_token_gives_no_gradient_and_is_counted() -> None:
    now = torch.tensor([0.5, -0.5, 0.5, -0.5]).requires_grad_()
    loss, statistics = ppo_loss(now, torch.zeros(4), torch.tensor([1.0, 1, -1, -1]), 4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert [bool(gradient) for gradient in now.grad] == [False, True, True, False]
    assert statistics.clip_fraction == 0.5


@pytest.mark.parametrize("gap", [200.0, -200.0])
def test_a_hopeless_ratio_keeps_loss_and_gradient_finite(gap: float) -> None:
    now = torch.tensor([gap, gap]).requires_grad_()
    loss, statistics = decoupled_ppo_loss(now, torch.zeros(2), -now.detach(), torch.tensor([1.0, -1.0]), 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert math.isfinite(loss.item())
    assert now.grad.isfinite().all()
    assert math.isfinite(statistics.kl)


def test_shares_of_micro_batches_add_up_to_the_minibatch() -> None:
    generator = torch.Generator().manual_seed(0)
    now, proximal, behaviour, advantages = torch.randn(4, 12, generator=generator).unbind()
    whole, statistics = decoupled_ppo_loss(now, proximal, behaviour, advantages, 12, weight_cap=2.0)
    halves = [
        decoupled_ppo_loss(now[part], proximal[part], behaviour[part], advantages[part], 12, weight_cap=2.0)
        for part in (slice(0, 5), slice(5, 12))
    ]
    torch.testing.assert_close(halves[0][0] + halves[1][0], whole)
    together = combine([half[1] for half in halves])
    assert together.tokens == statistics.tokens == 12
    assert together.importance_weight_max == statistics.importance_weight_max
    torch.testing.assert_close(together.sums, statistics.sums)


def test_an_empty_micro_batch_counts_for_nothing() -> None:
    nothing = torch.empty(0)
    loss, statistics = decoupled_ppo_loss(nothing, nothing, nothing, nothing, 3)
    assert loss.item() == 0.0
    assert (statistics.tokens, statistics.ratio_mean, statistics.importance_weight_max) == (0, 0.0, 0.0)


@pytest.mark.parametrize(("ratio", "rejected"), [(4.9, False), (5.1, True), (math.nan, True)])
def test_a_minibatch_is_rejected_by_its_mean_ratio(ratio: float, rejected: bool) -> None:
    sums = torch.tensor([10, 0, 10 * ratio, 0, 10, 0], dtype=torch.float64)
    assert LossStatistics(sums, torch.ones(())).is_rejected is rejected
