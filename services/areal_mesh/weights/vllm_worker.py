"""What we add to vLLM's worker (its `worker_extension_cls`): the proof of what the kernels compute with.

vLLM's own checksums digest the model's parameters. On CPUs most of those are empty, because oneDNN's packed copy
replaced them, and a language-model head has a packed copy beside its parameter. Here each packed weight is read back
through the very kernel that uses it: the layer's product with the identity is its weight, transposed, exactly (one
product by 1, the rest by 0).
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch

from areal_mesh.weights.engine_digests import digest

_ROWS = 256
"""Rows of the identity a product: bounds the memory of reading back a wide layer."""


class WeightProof:
    """Methods that run in each engine worker, called by name through `AsyncLLM.collective_rpc`."""

    def transfer_state(self) -> dict[str, Any]:
        """The last publish, as the worker's transfer engine saw it (see `TransferState`)."""
        return asdict(self.weight_transfer_engine.state)  # type: ignore[attr-defined]

    def kernel_weight_digests(self) -> dict[str, list[str]]:
        """Digests of the weights that kernels hold in a layout of their own, by the parameter's name. Empty on GPUs.

        A parameter shared by two layers (tied embeddings) has two kernels, hence a list.
        """
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        digests: dict[str, list[str]] = {}
        for name, layer in packed_layers(model):
            digests.setdefault(name, []).append(digest(_read_back(layer)))
        return digests


def packed_layers(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Each layer whose kernel holds a packed copy of its weight, with the name vLLM's checksums give that weight."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    layer: Any
    for layer in model.modules():
        if hasattr(layer, "cpu_linear") and layer.weight.ndim <= 2:
            yield names[id(layer.weight)], layer


@torch.no_grad()
def _read_back(layer: Any) -> torch.Tensor:
    rows, columns = _shape(layer)
    weight = torch.empty(rows, columns, dtype=layer.weight.dtype)
    identity = torch.eye(columns, dtype=layer.weight.dtype)
    for start in range(0, columns, _ROWS):
        block = identity[start : start + _ROWS]
        weight[:, start : start + _ROWS] = layer.cpu_linear(block, layer.weight, None).T
    return weight


def _shape(layer: Any) -> tuple[int, int]:
    if layer.weight.ndim == 2:
        return tuple(layer.weight.shape)
    rows = getattr(layer, "output_size_per_partition", layer.output_size)
    columns = getattr(layer, "input_size_per_partition", layer.input_size)
    return int(rows), int(columns)
