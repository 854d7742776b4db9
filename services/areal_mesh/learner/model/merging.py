"""Weights as they are published: adapters merged into the layers that they stand beside, under Hugging Face names.

    W' = W + scale B A

Tensor by tensor: beside the model there is one merged matrix at a time, in float32, never a second model. A, B and W
are those that the learner computes with, so that W' is what it computes with, rounded once. A model without adapters
comes out as it is.
"""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from areal_mesh.learner.model.adapters import is_adapter
from areal_mesh.learner.model.parallel import whole

_BASE = ".base_layer."


def published_weights(
    named: Iterable[tuple[str, Tensor]], scale: float, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Whole weights in `dtype`; sharded ones are gathered one by one, so that all ranks must exhaust the iterator.

    Args:
        named: all weights of a model, adapters among them.
        scale: of the adapters.
    """
    weights = dict(named)
    for name in weights:
        if not is_adapter(name):
            yield name.replace(_BASE, "."), _merged(weights, name, scale, dtype)


def published_shapes(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and whole shape of what `published_weights` gives, in its order; nothing is gathered."""
    for name, weight in named:
        if not is_adapter(name):
            yield name.replace(_BASE, "."), tuple(weight.shape)


def _merged(weights: Mapping[str, Tensor], name: str, scale: float, dtype: torch.dtype) -> Tensor:
    layer = name.removesuffix(f"{_BASE}weight")
    if layer == name:
        return whole(weights[name]).to(dtype)
    # Ranks that share the model keep adapters in float32 and compute with them in `dtype`.
    down, up = (whole(weights[f"{layer}.lora_{part}.default.weight"]).to(dtype).float() for part in "AB")
    merged = whole(weights[name]).to(torch.float32, copy=True)
    return merged.addmm_(up, down, alpha=scale).to(dtype)
