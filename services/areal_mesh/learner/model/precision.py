"""Full-precision weights under half-precision arithmetic.

Adam's updates at a learning rate of 1e-5 are lost when added to bfloat16 weights. On one rank the model is in the
compute dtype, which is also what is published, and the optimizer holds float32 masters whose gradients accumulate in
float32 over micro-batches; the head's gradient, a sum over all tokens, is float32 from the first token on. Sharded
ranks have float32 shards already (`parallel` casts them as they are gathered), and so has a float32 model: there the
masters are the parameters themselves. What float16 needs beyond that is in `scaling`.
"""

import torch
from torch import Tensor, nn

from areal_mesh.learner.model.policy import PolicyModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""By their names in the settings."""


class MasterWeights:
    """The parameters that the optimizer updates, by Hugging Face name."""

    def __init__(self, policy: PolicyModel) -> None:
        self._model = dict(policy.trained_weights())
        self._separate = any(parameter.dtype != torch.float32 for parameter in self._model.values())
        self.named: dict[str, nn.Parameter] = self._model
        if self._separate:
            self.named = {name: _master(parameter) for name, parameter in self._model.items()}
            for name, parameter in self._model.items():
                parameter.register_post_accumulate_grad_hook(_Forward(self.named[name]))  # type: ignore[no-untyped-call]
                if parameter is policy.head_weight:
                    policy.give_head_gradient_to(self.named[name])

    def zero_grad(self) -> None:
        """Forget gradients."""
        for parameter in self.named.values():
            parameter.grad = None

    @torch.no_grad()
    def write_back(self) -> None:
        """Round the masters into the model, after the optimizer has stepped or they were loaded."""
        if self._separate:
            for name, master in self.named.items():
                self._model[name].copy_(master)


def _master(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().float().clone())


class _Forward:
    """Adds a model parameter's finished gradient to its master's, in float32, and frees it."""

    def __init__(self, master: nn.Parameter) -> None:
        self._master = master

    def __call__(self, parameter: Tensor) -> None:
        if parameter.grad is None:
            return
        gradient = parameter.grad.float()
        parameter.grad = None
        if self._master.grad is None:
            self._master.grad = gradient
        else:
            self._master.grad += gradient
