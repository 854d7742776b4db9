"""The passes before training: reference and proximal log-probabilities, and the advantages they give."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner import advantages
from areal_mesh.learner.batches.micro_batch import MicroBatch
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.learner.trainer_settings import TrainerSettings


@dataclass
class Part:
    """A micro-batch and what has been found out about its R response tokens; float32 [R] each."""

    data: MicroBatch
    reference: Tensor | None = None
    proximal: Tensor | None = None
    advantages: Tensor | None = None


@dataclass(frozen=True)
class Minibatch:
    """This rank's micro-batches of a minibatch."""

    parts: Sequence[Part]
    tokens: int
    """Response tokens on all ranks together."""
    is_first: bool
    """Whether the policy that trains on it is still the one before the step."""


@dataclass(frozen=True)
class Returns:
    """Global moments of returns and the distance from the reference."""

    mean: float
    standard_deviation: float
    kl_to_reference: float | None


@torch.no_grad()
def measure_reference(reference: PolicyModel, parts: Sequence[Part]) -> None:
    """Fill in `reference` of each part."""
    for part in parts:
        part.reference = reference(part.data)


@torch.no_grad()
def measure_proximal(policy: PolicyModel, parts: Sequence[Part]) -> None:
    """Fill in `proximal` of each part, with the policy as it is before the step."""
    for part in parts:
        part.proximal = policy(part.data)


def estimate_advantages(parts: Sequence[Part], settings: TrainerSettings, parallel: Parallel) -> Returns:
    """Fill in `advantages` of each part, normalised over the batches of all ranks.

    The KL reward is that of the behaviour policy, which took the actions.
    """
    returns = []
    sums = torch.zeros(4, dtype=torch.float64, device=parallel.device)
    for part in parts:
        data = part.data
        rewards = advantages.token_rewards(
            data.behaviour_log_probs,
            part.reference,
            data.response_lengths,
            data.rewards,
            settings.kl_coefficient,
            settings.reward_clip,
        )
        returns.append(advantages.returns_to_go(rewards, data.response_lengths))
        sums[:3] += advantages.moments(returns[-1]).values
        if part.reference is not None:
            sums[3] += (data.behaviour_log_probs.double() - part.reference.double()).sum()
    sums = parallel.sum(sums)
    global_moments = advantages.Moments(sums[:3])
    for part, part_returns in zip(parts, returns, strict=True):
        part.advantages = advantages.normalise(part_returns, global_moments)
    count, total, squares, kl = sums.tolist()
    mean = total / count
    deviation = max(squares / count - mean * mean, 0.0) ** 0.5
    return Returns(mean, deviation, kl / count if settings.kl_coefficient > 0 else None)
