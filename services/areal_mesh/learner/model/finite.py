"""Which tensor holds NaN or infinity: of gradients, and of what the modules of a policy make in a forward pass."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from areal_mesh.learner.batches.micro_batch import MicroBatch
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel


class NotFinite(RuntimeError):
    """Numbers that are NaN or infinite where no later update would mend them; names the tensor, and what would do."""


def overflowed_gradients(parameters: Mapping[str, nn.Parameter], parallel: Parallel) -> list[str]:
    """Names of the parameters whose gradient is not finite, on any rank; the same on all, each of which calls it."""
    flags = [
        torch.zeros((), dtype=torch.bool, device=parallel.device)
        if parameter.grad is None
        else ~_local(parameter.grad).isfinite().all()
        for parameter in parameters.values()
    ]
    anywhere = parallel.maximum(torch.stack(flags).int()).tolist()
    return [name for name, flag in zip(parameters, anywhere, strict=True) if flag]


def first_module(policy: PolicyModel, micro_batch: MicroBatch, parallel: Parallel) -> str:
    """Name of the first module whose output is not finite, of all ranks' micro-batches; empty where each is finite.

    Costs a forward pass. All ranks call it.
    """
    modules: dict[str, nn.Module] = {
        name: module for name, module in policy.causal_lm.named_modules() if not any(module.children())
    }
    found: list[int] = []

    def watch(place: int) -> Any:
        def look(_: nn.Module, __: Any, output: Any) -> None:
            parts = output if isinstance(output, tuple) else (output,)
            if not all(bool(part.isfinite().all()) for part in parts if isinstance(part, Tensor)):
                found.append(place)

        return look

    hooks = [module.register_forward_hook(watch(place)) for place, module in enumerate(modules.values())]
    try:
        with torch.no_grad():
            policy(micro_batch)
    finally:
        for hook in hooks:
            hook.remove()
    # The pass calls modules in an order of its own: the first that was found here, and the earliest of all ranks.
    earliest = -(found[0] if found else len(modules))
    place = -int(parallel.maximum(torch.tensor([earliest], device=parallel.device)).item())
    return [*modules, ""][place]


def _local(gradient: Tensor) -> Tensor:
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient
