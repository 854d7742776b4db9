"""LoRA by PEFT: low-rank adapters beside frozen linear layers, put into a model in place.

    y = W x + scale B A x,    A [rank, in], B [out, rank], scale = alpha / rank

B is zero at first, so that a new adapter changes nothing. Hu et al., 2021, section 4.1. The adapters alone require
gradients. Everything here goes by names: `<layer>.base_layer.weight` is W, `<layer>.lora_A.default.weight` is A.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from areal_mesh.learner.model.policy import UnusableModel
from areal_mesh.runtime.settings.lora import LoraSettings

_PEFT_PREFIX = "base_model.model."


def add_adapters(causal_lm: nn.Module, lora: LoraSettings, dtype: torch.dtype) -> Any:
    """Freeze the model and add adapters in `dtype`; their start comes of torch's global random state.

    Returns PEFT's own configuration of them. Raises UnusableModel if `lora.target_modules` names a layer that the
    model lacks.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=_target_modules(causal_lm, lora),
        task_type="CAUSAL_LM",
    )
    inject_adapter_in_model(config, causal_lm)
    for name, weight in causal_lm.named_parameters():
        weight.requires_grad_(is_adapter(name))
        if is_adapter(name):
            weight.data = weight.data.to(dtype)
    return config


def _target_modules(causal_lm: Any, lora: LoraSettings) -> list[str]:
    """The layers that get adapters, by the last parts of their names."""
    linear = [name for name, module in causal_lm.model.named_modules() if isinstance(module, nn.Linear)]
    there = sorted({name.rpartition(".")[2] for name in linear})
    for target in lora.target_modules or ():
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            raise UnusableModel(
                f"{causal_lm.config._name_or_path} has no linear layer {target!r} for learner.lora.target_modules; "
                f"name some of {', '.join(there)}"
            )
    return there if lora.target_modules is None else list(lora.target_modules)


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name is an adapter's."""
    return ".lora_A." in name or ".lora_B." in name


@contextmanager
def without_adapters(causal_lm: nn.Module) -> Iterator[None]:
    """Within it the model computes what it did before adapters were added."""
    layers: list[Any] = [module for module in causal_lm.modules() if hasattr(module, "base_layer")]
    for layer in layers:
        layer.enable_adapters(False)
    # PEFT freezes what it switches off. FSDP2 sees in the first pass of all what it has to reduce gradients of.
    for name, weight in causal_lm.named_parameters():
        weight.requires_grad_(is_adapter(name))
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def peft_tensors(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapters among `weights`, by the names under which PEFT keeps them in a file."""
    return {
        f"{_PEFT_PREFIX}{name.replace('.default.', '.')}": weight.contiguous()
        for name, weight in weights.items()
        if is_adapter(name)
    }
