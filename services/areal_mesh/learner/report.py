"""A step's statistics put together from what its passes measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.losses import statistics
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.passes import mismatch
from areal_mesh.learner.passes.measuring import Minibatch, Returns
from areal_mesh.learner.passes.training import MinibatchResult
from areal_mesh.learner.stopwatch import Stopwatch
from areal_mesh.learner.trainer_settings import StepResult


@dataclass(frozen=True)
class Measured:
    """What one step went through."""

    batch: TrainingBatch
    minibatches: Sequence[Minibatch]
    results: Sequence[MinibatchResult]
    returns: Returns
    policy_version: int
    """After the step."""


def report(step: Measured, parallel: Parallel, watch: Stopwatch) -> StepResult:
    """The result of a step; called by all ranks, because the mismatch is summed over them."""
    losses = statistics.combine([result.statistics for result in step.results])
    local = mismatch.combine(list(chain.from_iterable(result.mismatches for result in step.results)))
    measured = mismatch.Mismatch(parallel.sum(local.sums))
    norms = [result.update.grad_norm for result in step.results]
    return StepResult(
        policy_version=step.policy_version,
        loss=sum(result.loss for result in step.results) / len(step.results),
        grad_norm=sum(norms) / len(norms),
        grad_norm_max=max(norms),
        learning_rate=step.results[-1].update.learning_rate,
        clip_fraction=losses.clip_fraction,
        ratio_mean=losses.ratio_mean,
        policy_kl=losses.kl,
        kl_to_reference=step.returns.kl_to_reference,
        importance_weight_mean=losses.importance_weight_mean,
        importance_weight_max=losses.importance_weight_max,
        masked_share=losses.masked_share,
        mismatch_kl=measured.fresh,
        mismatch_kl_all=measured.overall,
        reward_mean=float(step.batch.rewards.mean()),
        return_mean=step.returns.mean,
        return_std=step.returns.standard_deviation,
        rejected_minibatches=sum(result.rejected for result in step.results),
        skipped_updates=sum(not result.update.applied for result in step.results),
        sequences=len(step.batch),
        tokens_trained=losses.tokens,
        tokens_processed=step.batch.token_ids.numel(),
        micro_batches=sum(len(minibatch.parts) for minibatch in step.minibatches),
        seconds=watch.seconds(),
    )
