"""Before training: reference and proximal log-probabilities, the advantages of the whole batch, and who has none."""

from collections.abc import Sequence

import torch
from torch import Tensor

from areal_mesh.learner.advantages.inputs import Advantage, AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.learner.model.reference import Reference
from areal_mesh.learner.overlong.inputs import OverlongOutputs
from areal_mesh.learner.passes.preparing import Part
from areal_mesh.runtime.settings import AlgorithmSettings


@torch.no_grad()
def measure_reference(reference: Reference, parts: Sequence[Part], batch: TrainingBatch, parallel: Parallel) -> Tensor:
    """Fill in `reference` of each part; returns the whole batch's, on every rank: float32 [response tokens] on the CPU.

    Tokens that are not trained on are not measured: there the reference is taken to agree with the behaviour policy.
    """
    found = torch.zeros_like(batch.behaviour_log_probs)
    measured = torch.zeros_like(batch.behaviour_log_probs)
    for part in parts:
        part.reference = reference(part.data).float()
        found[part.data.rows] = part.reference.cpu()
        measured[part.data.rows] = 1.0
    # Each token is one rank's, and 0 elsewhere.
    found, measured = parallel.sum(torch.stack([found, measured]).to(parallel.device)).cpu().unbind()
    return torch.where(measured > 0, found, batch.behaviour_log_probs)


@torch.no_grad()
def measure_proximal(policy: PolicyModel, parts: Sequence[Part]) -> None:
    """Fill in `proximal` of each part, with the policy as it is before the step."""
    for part in parts:
        part.proximal = policy(part.data)


def estimate_advantages(
    estimate: Advantage,
    batch: TrainingBatch,
    reference: Tensor | None,
    overlong: OverlongOutputs,
    algorithm: AlgorithmSettings,
) -> AdvantageOutputs:
    """Advantages of the whole batch; their figures have those of the overlong treatment beside them."""
    rewards = batch.rewards + algorithm.reward_scale * overlong.rewards
    outputs = estimate(
        AdvantageInputs(
            rewards=rewards.clamp(-algorithm.reward_clip, algorithm.reward_clip),
            response_lengths=batch.response_lengths,
            group_index=batch.group_index,
            behaviour_log_probs=batch.behaviour_log_probs,
            reference_log_probs=reference,
        )
    )
    trained = overlong.trained.repeat_interleave(batch.response_lengths)
    return AdvantageOutputs(
        outputs.advantages,
        {**outputs.figures, **overlong.figures},
        outputs.says_nothing or not bool(outputs.advantages[trained].any()),
    )


def silent(advantages: Tensor, batch: TrainingBatch) -> Tensor:
    """Responses whose every advantage is 0, which give a loss of advantages alone no gradient; bool [n]."""
    parts = torch.split(advantages, batch.response_lengths.tolist())
    return torch.tensor([not bool(part.any()) for part in parts], dtype=torch.bool)


def give_advantages(parts: Sequence[Part], advantages: Tensor) -> None:
    """Fill in `advantages` of each part."""
    for part in parts:
        part.advantages = advantages[part.data.rows].to(part.data.behaviour_log_probs.device)
