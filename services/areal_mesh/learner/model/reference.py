"""The KL reference: a model of its own, or the policy's with other adapters."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from areal_mesh.learner.batches.micro_batch import MicroBatch
from areal_mesh.learner.model.adapters import without_adapters
from areal_mesh.learner.model.policy import PolicyModel


class Reference(Protocol):
    """Log-probabilities under an earlier policy; called without gradients."""

    version: int
    """Policy version that it was taken at; 0 is the start model."""

    def __call__(self, micro_batch: MicroBatch) -> Tensor:
        """float32 [response tokens of the micro-batch]."""

    def take(self, version: int) -> None:
        """Become the policy as it is now, which is of this version."""

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """What a checkpoint keeps of it unless it is the start model: the tensors themselves."""

    def set_temperature(self, temperature: float) -> None:
        """Of the distribution that responses are sampled from."""


class WholeReference:
    """A model of its own, for every weight of the policy may move."""

    def __init__(self, policy: PolicyModel, model: PolicyModel) -> None:
        """`model`: the start model, sharded like the policy's."""
        self.version = 0
        self._policy = policy
        self._model = model
        self._model.requires_grad_(False)

    def __call__(self, micro_batch: MicroBatch) -> Tensor:
        """See `Reference`."""
        log_probs: Tensor = self._model(micro_batch)
        return log_probs

    @torch.no_grad()
    def take(self, version: int) -> None:
        """See `Reference`."""
        policy = dict(self._policy.named_weights())
        for name, weight in self._model.named_weights():
            weight.copy_(policy[name])
        self.version = version

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Reference`."""
        return self._model.named_weights()

    def set_temperature(self, temperature: float) -> None:
        """See `Reference`."""
        self._model.temperature = temperature


class AdapterReference:
    """The policy's own model: with its adapters off as long as the start model is meant, then with earlier ones.

    No second model is in memory, only the adapters once more.
    """

    def __init__(self, policy: PolicyModel, dtype: torch.dtype) -> None:
        """`dtype`: of the arithmetic, in which earlier adapters are kept."""
        self.version = 0
        self._policy = policy
        self._earlier = {
            name: torch.zeros_like(weight, dtype=dtype, requires_grad=False)
            for name, weight in policy.trained_weights()
        }

    def __call__(self, micro_batch: MicroBatch) -> Tensor:
        """See `Reference`."""
        with without_adapters(self._policy.causal_lm) if self.version == 0 else self._exchanged():
            log_probs: Tensor = self._policy(micro_batch)
            return log_probs

    @torch.no_grad()
    def take(self, version: int) -> None:
        """See `Reference`."""
        for name, weight in self._policy.trained_weights():
            self._earlier[name].copy_(weight)
        self.version = version

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Reference`."""
        return iter(self._earlier.items())

    def set_temperature(self, temperature: float) -> None:
        """The policy's, which has it already."""

    @contextmanager
    def _exchanged(self) -> Iterator[None]:
        """The earlier adapters in the place of the policy's, which come back bit for bit."""
        live = {name: weight.detach().clone() for name, weight in self._policy.trained_weights()}
        try:
            self._put(self._earlier)
            yield
        finally:
            self._put(live)

    @torch.no_grad()
    def _put(self, adapters: dict[str, Tensor]) -> None:
        for name, weight in self._policy.trained_weights():
            weight.copy_(adapters[name])
