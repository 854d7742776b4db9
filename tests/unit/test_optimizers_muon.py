"""Muon against torch's own, which computes in bfloat16, and against a singular value decomposition."""

import pytest
import torch

from areal_mesh.optimizers.muon import Muon, Scale, orthogonalized


@pytest.mark.parametrize("shape", [(8, 8), (16, 64), (64, 16)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalized(matrix))
    # Those that begin far below the largest need more iterations than five.
    assert values.median() > 0.65
    assert values.max() < 1.25
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    between = left.T @ orthogonalized(matrix) @ right.T
    assert torch.allclose(between, torch.diag(between.diagonal()), atol=1e-4)


def test_zeros_stay_zeros() -> None:
    assert torch.equal(orthogonalized(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(16, 64), (64, 16)])
def test_steps_are_those_of_torch_to_bfloat16(shape: tuple[int, int], scale: Scale) -> None:
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(shape, generator=generator)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizers = (
        Muon([ours], lr=0.1, momentum=0.95, weight_decay=0.01, scale=scale),
        torch.optim.Muon([theirs], lr=0.1, momentum=0.95, weight_decay=0.01, adjust_lr_fn=scale),
    )
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(shape, generator=generator)
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - start).norm()
    assert moved > 1.0
    assert (ours - theirs).norm() < 0.03 * moved


def test_a_matrix_without_a_gradient_stays() -> None:
    matrix = torch.ones(2, 2, requires_grad=True)
    Muon([matrix], lr=0.1, momentum=0.95, weight_decay=0.01).step()
    assert torch.equal(matrix, torch.ones(2, 2))
