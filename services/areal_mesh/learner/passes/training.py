"""The training pass over one minibatch: losses and gradients of its micro-batches, then one update."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.losses import statistics
from areal_mesh.learner.losses.decoupled_ppo import decoupled_ppo_loss
from areal_mesh.learner.losses.ppo import ppo_loss
from areal_mesh.learner.losses.statistics import LossStatistics
from areal_mesh.learner.model.optimizer import Optimizer, Update
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.learner.model.precision import MasterWeights
from areal_mesh.learner.passes import mismatch
from areal_mesh.learner.passes.measuring import Minibatch, Part
from areal_mesh.learner.passes.mismatch import Mismatch
from areal_mesh.learner.stopwatch import Stopwatch
from areal_mesh.learner.trainer_settings import TrainerSettings


@dataclass(frozen=True)
class MinibatchResult:
    """What one minibatch did; sums over all ranks, but for `mismatches`, which are this rank's."""

    loss: float
    statistics: LossStatistics
    update: Update
    rejected: bool
    mismatches: Sequence[Mismatch]


def train_minibatch(
    policy: PolicyModel,
    masters: MasterWeights,
    optimizer: Optimizer,
    settings: TrainerSettings,
    parallel: Parallel,
    minibatch: Minibatch,
    watch: Stopwatch,
) -> MinibatchResult:
    """Accumulate the gradients of a minibatch and apply one update; zero gradients if its mean ratio is too large."""
    losses, collected, mismatches = [], [], []
    with watch.phase("backward"):
        masters.zero_grad()
        for part in minibatch.parts:
            log_probs: Tensor = policy(part.data)
            if minibatch.is_first and settings.algorithm == "decoupled_ppo":
                part.proximal = log_probs.detach()
            measured = log_probs.detach() if minibatch.is_first else part.proximal
            if measured is not None:
                mismatches.append(mismatch.measure(measured, part.data.behaviour_log_probs, part.data.fresh))
            loss, found = _loss(log_probs, part, minibatch.tokens, settings)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            collected.append(found)
        loss_sum, combined = _over_ranks(losses, collected, parallel)
        rejected = combined.is_rejected
    with watch.phase("update"):
        update = optimizer.update(zero_gradients=rejected)
        masters.write_back()
        masters.zero_grad()
    return MinibatchResult(loss_sum, combined, update, rejected, mismatches)


def _loss(
    log_probs: Tensor, part: Part, minibatch_tokens: int, settings: TrainerSettings
) -> tuple[Tensor, LossStatistics]:
    assert part.advantages is not None
    behaviour = part.data.behaviour_log_probs
    if settings.algorithm == "ppo":
        return ppo_loss(log_probs, behaviour, part.advantages, minibatch_tokens, settings.eps_clip)
    assert part.proximal is not None
    return decoupled_ppo_loss(
        log_probs,
        part.proximal,
        behaviour,
        part.advantages,
        minibatch_tokens,
        settings.eps_clip,
        settings.behaviour_weight_cap,
    )


def _over_ranks(
    losses: Sequence[Tensor], collected: Sequence[LossStatistics], parallel: Parallel
) -> tuple[float, LossStatistics]:
    local = statistics.combine(collected)
    sums = parallel.sum(torch.cat([local.sums, torch.stack(list(losses)).double().sum().view(1)]))
    return float(sums[-1].item()), LossStatistics(sums[:-1], parallel.maximum(local.weight_max))
