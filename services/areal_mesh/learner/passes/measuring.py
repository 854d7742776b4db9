"""The passes before training: reference and proximal log-probabilities, and the advantages of the whole batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.advantages.inputs import Advantage, AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.batches.micro_batch import MicroBatch
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel


@dataclass
class Part:
    """A micro-batch and what has been found out about its R response tokens; float32 [R] each."""

    data: MicroBatch
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


@torch.no_grad()
def measure_reference(
    reference: PolicyModel, parts: Sequence[Part], response_tokens: int, parallel: Parallel
) -> Tensor:
    """Log-probabilities of the whole batch's response tokens, on every rank: float32 [response tokens] on the CPU."""
    found = torch.zeros(response_tokens, dtype=torch.float32)
    for part in parts:
        found[part.data.rows] = reference(part.data).float().cpu()
    # Each token is one rank's, and 0 elsewhere.
    return parallel.sum(found.to(parallel.device)).cpu()


@torch.no_grad()
def measure_proximal(policy: PolicyModel, parts: Sequence[Part]) -> None:
    """Fill in `proximal` of each part, with the policy as it is before the step."""
    for part in parts:
        part.proximal = policy(part.data)


def estimate_advantages(
    estimate: Advantage, batch: TrainingBatch, reference: Tensor | None, reward_clip: float, parts: Sequence[Part]
) -> AdvantageOutputs:
    """Fill in `advantages` of each part, estimated on the whole batch; returns the whole estimate."""
    outputs = estimate(
        AdvantageInputs(
            rewards=batch.rewards.clamp(-reward_clip, reward_clip),
            response_lengths=batch.response_lengths,
            group_index=batch.group_index,
            behaviour_log_probs=batch.behaviour_log_probs,
            reference_log_probs=reference,
        )
    )
    for part in parts:
        part.advantages = outputs.advantages[part.data.rows].to(part.data.behaviour_log_probs.device)
    return outputs
