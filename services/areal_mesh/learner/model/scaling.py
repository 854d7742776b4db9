"""What the loss is multiplied by before its gradients are taken, and what follows where they overflow.

Float16 has no gradient under 6e-8 and none over 65,504. A loss that is multiplied by a power of two brings gradients
into that range (Micikevicius et al., 2018); they are divided by it again in float32, before they are clipped. Float32
and bfloat16 need nothing of it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from areal_mesh.learner.batches.micro_batch import MicroBatch
from areal_mesh.learner.model.finite import NotFinite, first_module, overflowed_gradients
from areal_mesh.learner.model.loss_scale import ScaleState, first_state, next_state
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.loss_scale import LossScaleSettings

Pass = tuple[MicroBatch, Tensor]
"""A micro-batch, and the log-probabilities that a forward pass gave for it: float32 [response tokens]."""


class LossScaling(Protocol):
    """How losses are scaled. All ranks call every method alike, and have the same state."""

    @property
    def factor(self) -> float:
        """Of the loss of the next minibatch."""

    def check_passes(self, policy: PolicyModel, passes: Sequence[Pass], parallel: Parallel) -> None:
        """Raise NotFinite where log-probabilities are NaN or infinite, which no scale of the loss mends."""

    def check_reference(self, log_probs: Tensor) -> None:
        """The same of those of the KL reference, of the whole batch."""

    def unscale(self, parameters: Mapping[str, nn.Parameter], parallel: Parallel) -> None:
        """Divide gradients by the factor, in place, and learn from whether they are finite."""

    def restart(self) -> None:
        """Be as before the first update."""

    def state_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps; the tensors themselves, not copies."""

    def figures(self) -> dict[str, float]:
        """Figures of a step, after it."""


class FixedScale:
    """A factor of 1, for arithmetic with the range of float32."""

    factor = 1.0

    def check_passes(self, policy: PolicyModel, passes: Sequence[Pass], parallel: Parallel) -> None:
        """Nothing: a minibatch of a ratio that is no number is rejected."""

    def check_reference(self, log_probs: Tensor) -> None:
        """Nothing."""

    def unscale(self, parameters: Mapping[str, nn.Parameter], parallel: Parallel) -> None:
        """Nothing."""

    def restart(self) -> None:
        """Nothing."""

    def state_tensors(self) -> dict[str, Tensor]:
        """None."""
        return {}

    def figures(self) -> dict[str, float]:
        """None."""
        return {}


class DynamicScale:
    """A factor that falls where gradients overflow and grows while they do not (`model/loss_scale`)."""

    def __init__(self, settings: LossScaleSettings) -> None:
        self._settings = settings
        # A tensor, because a checkpoint is one of tensors.
        self._values = torch.empty(3, dtype=torch.float64)
        self.restart()

    @property
    def factor(self) -> float:
        """Of the loss of the next minibatch."""
        return self._state.scale

    def check_passes(self, policy: PolicyModel, passes: Sequence[Pass], parallel: Parallel) -> None:
        """Raise NotFinite, on all ranks, where log-probabilities of one are NaN or infinite."""
        bad = [micro_batch for micro_batch, log_probs in passes if not bool(log_probs.isfinite().all())]
        if not parallel.maximum(torch.tensor([len(bad)], device=parallel.device)).item():
            return
        micro_batch = bad[0] if bad else passes[0][0]
        module = first_module(policy, micro_batch, parallel) or "the head"
        raise NotFinite(
            f"log-probabilities are NaN or infinite, first in the output of {module}: its activations go beyond "
            f'float16; set model.dtype to "bfloat16"'
        )

    def check_reference(self, log_probs: Tensor) -> None:
        """Raise NotFinite where log-probabilities of the KL reference are NaN or infinite."""
        count = int((~log_probs.isfinite()).sum())
        if count:
            raise NotFinite(
                f"log-probabilities of the KL reference are NaN or infinite at {count} of {log_probs.numel()} tokens: "
                'its activations go beyond float16; set model.dtype to "bfloat16"'
            )

    def unscale(self, parameters: Mapping[str, nn.Parameter], parallel: Parallel) -> None:
        """Divide gradients by the factor, in place; where some overflowed on any rank, all of them lower the scale.

        The update with gradients that are not finite is left out by the optimizer. Raises NotFinite where the scale is
        at its minimum already.
        """
        state = self._state
        for parameter in parameters.values():
            if parameter.grad is not None:
                parameter.grad.mul_(1.0 / state.scale)
        overflowed = overflowed_gradients(parameters, parallel)
        if overflowed and state.scale <= self._settings.minimum:
            others = f" and of {len(overflowed) - 1} others" if len(overflowed) > 1 else ""
            raise NotFinite(
                f"the gradient of {overflowed[0]}{others} overflows float16 at learner.loss_scale.minimum = "
                f'{self._settings.minimum:g}; lower it, or set model.dtype to "bfloat16"'
            )
        self._keep(next_state(state, bool(overflowed), self._settings))

    def restart(self) -> None:
        """Be as before the first update."""
        self._keep(first_state(self._settings))

    def state_tensors(self) -> dict[str, Tensor]:
        """`loss_scale`, float64 [3]: the scale, updates in a row without overflow, overflows that are forgiven yet."""
        return {"loss_scale": self._values}

    def figures(self) -> dict[str, float]:
        """`loss_scale`: the factor of the next minibatch."""
        return {"loss_scale": self.factor}

    @property
    def _state(self) -> ScaleState:
        scale, good_updates, overflows_left = self._values.tolist()
        return ScaleState(scale, int(good_updates), int(overflows_left))

    def _keep(self, state: ScaleState) -> None:
        values = [state.scale, state.good_updates, state.overflows_left]
        self._values.copy_(torch.tensor(values, dtype=torch.float64))


def scaling_of(settings: RunSettings) -> LossScaling:
    """The scaling that the settings' arithmetic needs."""
    return DynamicScale(settings.learner.loss_scale) if settings.model.dtype == "float16" else FixedScale()
