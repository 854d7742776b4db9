"""Muon in float32, of whole matrices and of sharded ones.

`torch.optim.Muon` multiplies in bfloat16, which a processor without instructions for it does some ten times slower than
float32; a laptop's is one, and a warm start took seven minutes there.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate

Scale: TypeAlias = Literal["original", "match_rms_adamw"]
"""How long an update is, by torch's names for it: see `factor`."""
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST_NORM = 1e-7
_RMS_OF_ADAMW = 0.2


def orthogonalized(matrix: Tensor) -> Tensor:
    """The matrix with every singular value brought near 1 (0.7 to 1.2), by five quintic Newton-Schulz iterations.

    Source: Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024), coefficients included.

    Args:
        matrix: float32 [rows, columns]; a matrix of zeros stays one. Of a sharded one each rank gathers the whole,
            computes the same, and keeps its shard.
    """
    if isinstance(matrix, DTensor):
        result = orthogonalized(matrix.full_tensor())
        everywhere = [Replicate()] * matrix.device_mesh.ndim
        return DTensor.from_local(result, matrix.device_mesh, everywhere, run_check=False).redistribute(
            placements=matrix.placements
        )
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=_SMALLEST_NORM)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def factor(shape: torch.Size, scale: Scale) -> float:
    """What an orthogonal update is multiplied with beside the rate.

    `original`: sqrt(rows / columns) for more rows than columns, as in the source's own implementation.
    `match_rms_adamw`: so that its entries are as large as AdamW's usually are, and AdamW's rate and decay fit
    (Liu et al., "Muon is scalable for LLM training", 2025).
    """
    rows, columns = shape
    if scale == "original":
        return float(max(1.0, rows / columns) ** 0.5)
    return float(_RMS_OF_ADAMW * max(rows, columns) ** 0.5)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update of each weight matrix is orthogonalized; weight decay is decoupled.

    Its state, `mean` of each matrix, is complete from the start.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        scale: Scale = "original",
    ):
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "scale": scale})
        for group in self.param_groups:
            for matrix in group["params"]:
                self.state[matrix] = {"mean": torch.zeros_like(matrix, memory_format=torch.preserve_format)}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Takes one step on the gradients as they are."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                gradient = matrix.grad
                if gradient is None:
                    continue
                mean = self.state[matrix]["mean"].lerp_(gradient, 1 - momentum)
                update = orthogonalized(gradient.lerp(mean, momentum))
                length = lr * factor(matrix.shape, group["scale"])
                matrix.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-length)
