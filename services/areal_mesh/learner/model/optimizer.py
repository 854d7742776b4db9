"""AdamW with linear warm-up and global-norm clipping; state is complete from the start, named, and can be restarted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from areal_mesh.learner.model.parallel import whole


@dataclass(frozen=True)
class AdamSettings:
    """Hyper-parameters; defaults are AReaL v0.1's."""

    learning_rate: float = 1e-5
    warmup_updates: int = 0
    """Updates (minibatches) over which the learning rate rises linearly to its constant value."""
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-5
    clip_grad: float = 1.0
    """Largest global gradient norm; gradients above are scaled down to it."""


def learning_rate(settings: AdamSettings, update: int) -> float:
    """Learning rate of an update (0 the first since the last restart): linear warm-up, then constant."""
    if update >= settings.warmup_updates:
        return settings.learning_rate
    return settings.learning_rate * (update + 1) / settings.warmup_updates


@dataclass(frozen=True)
class Update:
    """What one update did."""

    grad_norm: float
    """Global norm before clipping."""
    learning_rate: float
    applied: bool
    """False if the norm was not finite: the weights are as before."""


class Optimizer:
    """AdamW over named float32 parameters, plain or sharded."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], settings: AdamSettings) -> None:
        self.settings = settings
        self.updates = 0
        self._parameters = dict(parameters)
        self._adam = self._build()

    def update(self, zero_gradients: bool = False) -> Update:
        """Clip, step and count. `zero_gradients`: step with gradients of zero, as a rejected minibatch does."""
        parameters = [parameter for parameter in self._parameters.values() if parameter.grad is not None]
        if zero_gradients:
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
        norm = float(whole(nn.utils.clip_grad_norm_(parameters, self.settings.clip_grad)).item())
        rate = learning_rate(self.settings, self.updates)
        finite = math.isfinite(norm)
        if finite:
            for group in self._adam.param_groups:
                group["lr"] = rate
            self._adam.step()
        self.updates += 1
        return Update(norm, rate, finite)

    def restart(self) -> None:
        """Forget moments and start the warm-up again."""
        self.updates = 0
        self._adam = self._build()

    def state_tensors(self) -> dict[str, Tensor]:
        """Adam's state by `<parameter>.<exp_avg|exp_avg_sq|step>`; the tensors themselves, not copies."""
        return {
            f"{name}.{key}": value
            for name, parameter in self._parameters.items()
            for key, value in self._adam.state[parameter].items()
        }

    def _build(self) -> torch.optim.AdamW:
        settings = self.settings
        # Norm gains and biases are not decayed, as in Megatron's optimizer.
        matrices = [parameter for parameter in self._parameters.values() if parameter.dim() >= 2]
        vectors = [parameter for parameter in self._parameters.values() if parameter.dim() < 2]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(
            groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, foreach=True
        )
        for parameter in self._parameters.values():
            # Complete before the first update, so that a checkpoint always holds the same names.
            adam.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return adam
