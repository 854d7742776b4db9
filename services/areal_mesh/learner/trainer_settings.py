"""What a trainer is built from, and what a step of it reports."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from areal_mesh.learner.model.optimizer import AdamSettings

Algorithm = Literal["ppo", "decoupled_ppo"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TrainerSettings:
    """Settings of `Trainer`; defaults are AReaL v0.1's recipe.

    Raises ValueError for a value out of range.
    """

    model_folder: Path
    """Hugging Face folder of the start policy, which is the first KL reference too."""
    device: str = "cpu"
    dtype: str = "float32"
    """Of the arithmetic and of published weights: float32 or bfloat16. The optimizer's weights are always float32."""
    temperature: float = 0.6
    """The engine's sampling temperature; logits are divided by it."""
    learning_rate: float = 1e-5
    warmup_steps: int = 0
    """Training steps over which the learning rate rises; see `warmup_steps`."""
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    adam_epsilon: float = 1e-5
    clip_grad: float = 1.0
    minibatches: int = 4
    eps_clip: float = 0.2
    kl_coefficient: float = 0.001
    """0 needs no reference model and no reference pass."""
    algorithm: Algorithm = "ppo"
    behaviour_weight_cap: float | None = None
    """Decoupled PPO masks tokens whose importance weight is above; None masks none."""
    reward_clip: float = 20.0
    max_tokens_per_micro_batch: int = 4096
    activation_checkpointing: bool = False
    """Recompute decoder layers in the backward pass: less memory for a third more arithmetic."""
    threads: int | None = None
    """CPU threads of torch in this process; None leaves them as they are."""
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("temperature", "learning_rate", "clip_grad", "minibatches", "eps_clip", "reward_clip")
        for name in (*positive, "max_tokens_per_micro_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("warmup_steps", "weight_decay", "kl_coefficient"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be below 0")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}: choose one of {', '.join(DTYPES)}")
        if self.algorithm not in ("ppo", "decoupled_ppo"):
            raise ValueError(f"algorithm is {self.algorithm!r}: choose ppo or decoupled_ppo")
        if self.behaviour_weight_cap is not None and self.behaviour_weight_cap <= 0:
            raise ValueError(f"behaviour_weight_cap is {self.behaviour_weight_cap}: above 0, or none to mask nothing")

    @property
    def compute_dtype(self) -> torch.dtype:
        """`dtype` as torch's."""
        return DTYPES[self.dtype]

    @property
    def adam(self) -> AdamSettings:
        """The optimizer's part."""
        return AdamSettings(
            self.learning_rate,
            self.warmup_steps * self.minibatches,
            self.weight_decay,
            self.betas,
            self.adam_epsilon,
            self.clip_grad,
        )


def warmup_steps(fraction: float, planned_steps: int) -> int:
    """Training steps of warm-up that are `fraction` (AReaL v0.1: 0.02) of the planned steps, rounded up."""
    return -int(-fraction * planned_steps // 1)


@dataclass(frozen=True)
class StepResult:
    """One training step. Means are over the response tokens of the global batch unless said otherwise."""

    policy_version: int
    """After the step."""
    loss: float
    """Mean over minibatches, before a rejected one was zeroed."""
    grad_norm: float
    """Mean over minibatches of the global norm before clipping."""
    grad_norm_max: float
    learning_rate: float
    """Of the step's last update."""
    clip_fraction: float
    ratio_mean: float
    policy_kl: float
    """How far the step's minibatches moved the policy: mean of r - log r - 1, r as in `ratio_mean`."""
    kl_to_reference: float | None
    """Mean of logp_behaviour - logp_reference; None without a reference."""
    importance_weight_mean: float
    importance_weight_max: float
    masked_share: float
    mismatch_kl: float | None
    """Learner against engine on fresh tokens; None if no measured token is fresh. PPO measures its first minibatch."""
    mismatch_kl_all: float | None
    """The same on tokens of any version."""
    reward_mean: float
    """Over responses, before clipping."""
    return_mean: float
    return_std: float
    """Of returns to go, before normalisation."""
    rejected_minibatches: int
    """Minibatches zeroed because their mean ratio was too large."""
    skipped_updates: int
    """Updates left out because the gradient was not finite."""
    sequences: int
    tokens_trained: int
    """Response tokens."""
    tokens_processed: int
    """Prompt and response tokens of one pass."""
    micro_batches: int
    """On this rank, of one pass."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock by phase: prepare, reference, proximal, advantages, backward, update; and total."""
