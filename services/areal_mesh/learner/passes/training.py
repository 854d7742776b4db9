"""The training pass over one minibatch: losses and gradients of its micro-batches, then one update."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from areal_mesh.learner.losses import figures
from areal_mesh.learner.losses.figures import TokenFigures
from areal_mesh.learner.losses.inputs import Loss, LossInputs, LossOutputs
from areal_mesh.learner.model.optimizer import Optimizer, Update
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.model.policy import PolicyModel
from areal_mesh.learner.model.precision import MasterWeights
from areal_mesh.learner.passes import mismatch
from areal_mesh.learner.passes.mismatch import Mismatch
from areal_mesh.learner.passes.preparing import Minibatch, Part
from areal_mesh.learner.stopwatch import Stopwatch
from areal_mesh.runtime.settings.algorithm import RejectedPart


@dataclass(frozen=True)
class Trained:
    """What is trained, and by which loss: the same in every minibatch of a step."""

    policy: PolicyModel
    masters: MasterWeights
    optimizer: Optimizer
    loss: Loss
    parallel: Parallel
    rejected_part: RejectedPart
    step: int
    """Of the run, from 0."""


@dataclass(frozen=True)
class MinibatchResult:
    """What one minibatch did; sums over all ranks, but for `mismatches`, which are this rank's."""

    loss: float
    figures: TokenFigures
    update: Update
    rejected: bool
    """The whole minibatch."""
    rejected_parts: int
    """Micro-batches by themselves."""
    mismatches: Sequence[Mismatch]


def train_minibatch(trained: Trained, minibatch: Minibatch, watch: Stopwatch) -> MinibatchResult:
    """Accumulate the gradients of a minibatch and apply one update.

    Where a mean ratio is too large, gradients are zero: of the minibatch, or of the micro-batch alone.
    """
    losses, collected, mismatches = [], [], []
    by_part, rejected_parts = trained.rejected_part == "micro_batch", 0
    with watch.phase("backward"):
        trained.masters.zero_grad()
        for part in minibatch.parts:
            log_probs: Tensor = trained.policy(part.data)
            if minibatch.is_first and trained.loss.needs_proximal:
                part.proximal = log_probs.detach()
            measured = log_probs.detach() if minibatch.is_first else part.proximal
            if measured is not None:
                data = part.data
                mismatches.append(mismatch.measure(measured, data.behaviour_log_probs, data.fresh, data.ages))
            outputs = _loss(trained.loss, log_probs, part)
            rejects = by_part and outputs.figures.is_rejected
            rejected_parts += rejects
            # A pass all the same: under sharding it is a collective.
            (outputs.loss * (0.0 if rejects else 1.0)).backward()  # type: ignore[no-untyped-call]
            losses.append(outputs.loss.detach())
            collected.append(outputs.figures)
        loss_sum, combined = _over_ranks(losses, collected, trained.parallel)
        rejected = not by_part and combined.is_rejected
        counted = torch.tensor([rejected_parts], device=trained.parallel.device)
        rejected_parts = int(trained.parallel.sum(counted).item())
    with watch.phase("update"):
        update = trained.optimizer.update(trained.step, zero_gradients=rejected)
        trained.masters.write_back()
        trained.masters.zero_grad()
    return MinibatchResult(loss_sum, combined, update, rejected, rejected_parts, mismatches)


def _loss(loss: Loss, log_probs: Tensor, part: Part) -> LossOutputs:
    assert part.advantages is not None
    return loss(
        LossInputs(
            log_probs=log_probs,
            behaviour_log_probs=part.data.behaviour_log_probs,
            proximal_log_probs=part.proximal,
            reference_log_probs=part.reference,
            advantages=part.advantages,
            token_weights=part.token_weights,
            response_lengths=part.data.response_lengths,
        )
    )


def _over_ranks(
    losses: Sequence[Tensor], collected: Sequence[TokenFigures], parallel: Parallel
) -> tuple[float, TokenFigures]:
    local = figures.combine(collected)
    loss = torch.stack(list(losses)).double().sum()
    sums = parallel.sum(torch.stack([loss, local.tokens, *local.sums.values()])).unbind()
    maxima = parallel.maximum(torch.stack(list(local.maxima.values()))).unbind() if local.maxima else ()
    together = TokenFigures(
        sums[1],
        dict(zip(local.sums, sums[2:], strict=True)),
        dict(zip(local.maxima, maxima, strict=True)),
    )
    return float(sums[0].item()), together
