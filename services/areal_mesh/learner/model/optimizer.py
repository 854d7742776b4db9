"""AdamW, and Muon beside it where that is asked for, with linear warm-up, linear decay and global-norm clipping.

The state is complete from the start, and named.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from areal_mesh.learner.model.parallel import whole
from areal_mesh.optimizers.muon import Muon
from areal_mesh.runtime.settings import LearnerSettings, RunSettings

_LAYERS = ".layers."
"""In the name of what belongs to a decoder layer, neither to the embedding nor to the head."""


def warmup_updates(settings: RunSettings) -> int:
    """Updates over which the learning rate rises: a share of the longest stage's (AReaL v0.1: 0.02), rounded up."""
    longest = max(stage.max_steps for stage in settings.stages)
    return math.ceil(settings.learner.warmup_share * longest) * settings.algorithm.updates


@dataclass(frozen=True)
class Warmup:
    """Linear warm-up of the learning rate, then constant."""

    updates: int
    """Over which the rate rises."""
    updates_a_step: int
    by_step: bool = False
    """Whether all updates of a step have the same rate, those of the first 0 (AReaL v0.1)."""

    def share(self, update: int) -> float:
        """Share of the peak rate that an update has (0: the first since the last restart)."""
        if update >= self.updates:
            return 1.0
        if self.by_step:
            return update // self.updates_a_step * self.updates_a_step / self.updates
        return (update + 1) / self.updates


def warmup_of(settings: RunSettings) -> Warmup:
    """The warm-up that the settings ask for."""
    by_step = settings.learner.warmup_counts == "steps"
    return Warmup(warmup_updates(settings), settings.algorithm.updates, by_step)


@dataclass(frozen=True)
class Decay:
    """Linear decay of the learning rate over the steps of the whole run."""

    steps: int
    """That the schedule has, if no rule ends a stage before its time."""
    end_share: float
    """Share of the peak rate that is left at the end; 1: the rate stays."""

    def share(self, step: int) -> float:
        """Share of the peak rate that a step has (0: the first of the run)."""
        return 1.0 - (1.0 - self.end_share) * min(step / self.steps, 1.0)


def decay_of(settings: RunSettings) -> Decay:
    """The decay that the settings ask for."""
    return Decay(settings.planned_steps, settings.learner.end_rate_share)


@dataclass(frozen=True)
class Update:
    """What one update did."""

    grad_norm: float
    """Global norm before clipping."""
    learning_rate: float
    """AdamW's."""
    applied: bool
    """False if the norm was not finite: the weights are as before."""


class Optimizer:
    """AdamW over named float32 parameters, plain or sharded; Muon over those that `learner.muon` gives to it."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], settings: LearnerSettings, warmup: Warmup, decay: Decay
    ) -> None:
        self._settings = settings
        self._warmup = warmup
        self._decay = decay
        self.updates = 0
        self._parameters = dict(parameters)
        self._adam, self._muon = self._build()

    def update(self, step: int, zero_gradients: bool = False) -> Update:
        """Clip, step and count.

        Args:
            step: of the run, from 0, which decides how far the rate has decayed.
            zero_gradients: step with gradients of zero, as a rejected minibatch does.
        """
        parameters = [parameter for parameter in self._parameters.values() if parameter.grad is not None]
        if zero_gradients:
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
        norm = float(whole(nn.utils.clip_grad_norm_(parameters, self._settings.gradient_clip)).item())
        rate = self._settings.learning_rate * self._warmup.share(self.updates) * self._decay.share(step)
        finite = math.isfinite(norm)
        if finite:
            for optimizer in self._optimizers():
                for group in optimizer.param_groups:
                    group["lr"] = rate * group.get("rate_ratio", 1.0)
                optimizer.step()
        self.updates += 1
        return Update(norm, rate, finite)

    def take(self, settings: LearnerSettings, warmup: Warmup, decay: Decay) -> None:
        """Go on with other settings; moments and updates stay."""
        self._settings, self._warmup, self._decay = settings, warmup, decay
        for group, weight_decay in zip(self._adam.param_groups, (settings.weight_decay, 0.0), strict=True):
            group["weight_decay"] = weight_decay
            group["betas"], group["eps"] = (settings.beta1, settings.beta2), settings.epsilon
        for group in self._muon.param_groups if self._muon is not None else []:
            group["weight_decay"] = settings.weight_decay

    def restart(self) -> None:
        """Forget moments and start the warm-up again."""
        self.updates = 0
        self._adam, self._muon = self._build()

    def state_tensors(self) -> dict[str, Tensor]:
        """State by `<parameter>.<exp_avg|exp_avg_sq|step>`, Muon's by `<parameter>.mean`; themselves, not copies."""
        states = {parameter: state for optimizer in self._optimizers() for parameter, state in optimizer.state.items()}
        return {
            f"{name}.{key}": value
            for name, parameter in self._parameters.items()
            for key, value in states[parameter].items()
        }

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return [self._adam] if self._muon is None else [self._adam, self._muon]

    def _build(self) -> tuple[torch.optim.AdamW, Muon | None]:
        settings = self._settings
        orthogonal = [parameter for name, parameter in self._parameters.items() if self._is_muons(name, parameter)]
        others = [parameter for name, parameter in self._parameters.items() if not self._is_muons(name, parameter)]
        muon = None
        if settings.muon is not None and orthogonal:
            momentum, decay = settings.muon.momentum, settings.weight_decay
            muon = Muon(orthogonal, settings.learning_rate, momentum, decay, scale="match_rms_adamw")
            muon.param_groups[0]["rate_ratio"] = settings.muon.rate_ratio
        return self._build_adam(others), muon

    def _is_muons(self, name: str, parameter: nn.Parameter) -> bool:
        return self._settings.muon is not None and parameter.dim() == 2 and _LAYERS in name

    def _build_adam(self, parameters: Sequence[nn.Parameter]) -> torch.optim.AdamW:
        settings = self._settings
        # Norm gains and biases are not decayed, as in Megatron's optimizer.
        matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
        vectors = [parameter for parameter in parameters if parameter.dim() < 2]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(
            groups,
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            foreach=True,
        )
        for parameter in parameters:
            # Complete before the first update, so that a checkpoint always holds the same names.
            adam.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return adam
