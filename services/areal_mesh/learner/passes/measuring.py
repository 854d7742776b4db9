"""The passes before training: reference and proximal log-probabilities, and the advantages of the whole batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from areal_mesh.learner.advantages.inputs import Advantage, AdvantageInputs, AdvantageOutputs
from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.learner.overlong.inputs import OverlongOutputs
from areal_mesh.learner.passes.preparing import Part
from areal_mesh.runtime.settings import AlgorithmSettings


@torch.no_grad()
def measure_reference(
    reference: PolicyModel, parts: Sequence[Part], batch: TrainingBatch, parallel: Parallel
) -> Tensor:
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
    parts: Sequence[Part],
) -> AdvantageOutputs:
    """Fill in `advantages` of each part, estimated on the whole batch; returns the whole estimate.

    Its figures have those of the overlong treatment beside them.
    """
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
    for part in parts:
        part.advantages = outputs.advantages[part.data.rows].to(part.data.behaviour_log_probs.device)
    trained = overlong.trained.repeat_interleave(batch.response_lengths)
    return AdvantageOutputs(
        outputs.advantages,
        {**outputs.figures, **overlong.figures},
        outputs.says_nothing or not bool(outputs.advantages[trained].any()),
    )
