"""Muon in float32: `torch.optim.Muon` multiplies in bfloat16, which a processor without instructions for it does some
ten times slower than float32; a laptop's is one, and the warm start took seven minutes there."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST_NORM = 1e-7


def orthogonalized(matrix: Tensor) -> Tensor:
    """The matrix with every singular value brought near 1 (0.7 to 1.2), by five quintic Newton-Schulz iterations.

    Source: Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024), coefficients included.

    Args:
        matrix: float32 [rows, columns]; a matrix of zeros stays one.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=_SMALLEST_NORM)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update of each weight matrix is orthogonalized; weight decay is decoupled.

    A matrix of more rows than columns steps by sqrt(rows / columns) more, as in the source's own implementation.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float, weight_decay: float):
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Takes one step on the gradients as they are."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                gradient = matrix.grad
                if gradient is None:
                    continue
                state = self.state[matrix]
                mean = state.setdefault("mean", torch.zeros_like(gradient)).lerp_(gradient, 1 - momentum)
                update = orthogonalized(gradient.lerp(mean, momentum))
                rows, columns = matrix.shape
                matrix.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-lr * max(1, rows / columns) ** 0.5)
