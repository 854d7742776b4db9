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
from areal_mesh.learner.model.scaling import LossScaling
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
    scaling: LossScaling
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

    Where a mean ratio is too large, gradients are zero: of the minibatch, or of the micro-batch alone. Raises NotFinite
    (`model/scaling`).
    """
    by_part, parallel = trained.rejected_part == "micro_batch", trained.parallel
    with watch.phase("backward"):
        trained.masters.zero_grad()
        passed = [_backward(trained, minibatch, part, by_part) for part in minibatch.parts]
        trained.scaling.check_passes(trained.policy, [(one.part.data, one.log_probs) for one in passed], parallel)
        loss_sum, combined = _over_ranks([one.outputs for one in passed], parallel)
        rejected = not by_part and combined.is_rejected
        counted = torch.tensor([sum(one.rejected for one in passed)], device=parallel.device)
        rejected_parts = int(parallel.sum(counted).item())
    with watch.phase("update"):
        if not rejected:
            trained.scaling.unscale(trained.masters.named, parallel)
        update = trained.optimizer.update(trained.step, zero_gradients=rejected)
        trained.masters.write_back()
        trained.masters.zero_grad()
    mismatches = [one.mismatch for one in passed if one.mismatch is not None]
    return MinibatchResult(loss_sum, combined, update, rejected, rejected_parts, mismatches)


@dataclass(frozen=True)
class _Passed:
    """What the pass over one micro-batch gave, beside its gradients."""

    part: Part
    log_probs: Tensor
    """float32 [response tokens], without gradient."""
    outputs: LossOutputs
    """Without gradient."""
    rejected: bool
    mismatch: Mismatch | None


def _backward(trained: Trained, minibatch: Minibatch, part: Part, by_part: bool) -> _Passed:
    """Add a micro-batch's gradients, times the loss scale, to those of its minibatch."""
    with_gradient: Tensor = trained.policy(part.data)
    log_probs = with_gradient.detach()
    if minibatch.is_first and trained.loss.needs_proximal:
        part.proximal = log_probs
    measured = log_probs if minibatch.is_first else part.proximal
    far = None
    if measured is not None:
        far = mismatch.measure(measured, part.data.behaviour_log_probs, part.data.fresh, part.data.ages)
    outputs = _loss(trained.loss, with_gradient, part)
    rejected = by_part and outputs.figures.is_rejected
    # A pass all the same: under sharding it is a collective.
    (outputs.loss * (0.0 if rejected else trained.scaling.factor)).backward()  # type: ignore[no-untyped-call]
    return _Passed(part, log_probs, LossOutputs(outputs.loss.detach(), outputs.figures), rejected, far)


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


def _over_ranks(outputs: Sequence[LossOutputs], parallel: Parallel) -> tuple[float, TokenFigures]:
    local = figures.combine([each.figures for each in outputs])
    loss = torch.stack([each.loss for each in outputs]).double().sum()
    sums = parallel.sum(torch.stack([loss, local.tokens, *local.sums.values()])).unbind()
    maxima = parallel.maximum(torch.stack(list(local.maxima.values()))).unbind() if local.maxima else ()
    together = TokenFigures(
        sums[1],
        dict(zip(local.sums, sums[2:], strict=True)),
        dict(zip(local.maxima, maxima, strict=True)),
    )
    return float(sums[0].item()), together
