"""What a step reports: figures of its losses, advantages and updates, put together from what the passes measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.losses import figures
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.passes import mismatch
from areal_mesh.learner.passes.preparing import Minibatch
from areal_mesh.learner.passes.training import MinibatchResult


@dataclass(frozen=True)
class StepResult:
    """One training step."""

    policy_version: int
    """After the step."""
    figures: Mapping[str, float]
    """By metric name; docs/learner.md says what each is. What was not measured is left out."""
    seconds: Mapping[str, float]
    """Wall-clock by phase: prepare, reference, proximal, advantages, backward, update; and total."""

    def metrics(self) -> dict[str, float]:
        """The figures, and the phases as `seconds_<phase>`."""
        return dict(self.figures) | {f"seconds_{phase}": seconds for phase, seconds in self.seconds.items()}


@dataclass(frozen=True)
class Measured:
    """What one step went through."""

    batch: TrainingBatch
    minibatches: Sequence[Minibatch]
    results: Sequence[MinibatchResult]
    """None in a step without an update."""
    advantage_figures: Mapping[str, float]
    scaling_figures: Mapping[str, float]


def step_figures(step: Measured, parallel: Parallel) -> dict[str, float]:
    """The figures of a step; called by all ranks, because the mismatch is summed over them.

    Of losses: means over the response tokens of the global batch. `loss`, `grad_norm`: means over minibatches, before
    one was zeroed or clipped; `grad_norm` without those that overflowed.
    """
    return {
        "optimizer_updates": float(sum(result.update.applied for result in step.results)),
        "rejected_minibatches": float(sum(result.rejected for result in step.results)),
        "rejected_micro_batches": float(sum(result.rejected_parts for result in step.results)),
        "skipped_updates": float(sum(not result.update.applied for result in step.results)),
        "tokens_processed": float(step.batch.token_ids.numel()),
        "shared_prompt_tokens": _shared(step.minibatches, parallel),
        "micro_batches": float(sum(len(minibatch.parts) for minibatch in step.minibatches)),
        **step.advantage_figures,
        **step.scaling_figures,
        **(_of_training(step.results, parallel) if step.results else {}),
    }


def _shared(minibatches: Sequence[Minibatch], parallel: Parallel) -> float:
    """Tokens of prompts that passes had from another response to the same prompt, of all ranks."""
    local = sum(part.data.shared_tokens for minibatch in minibatches for part in minibatch.parts)
    return float(parallel.sum(torch.tensor([local], device=parallel.device)).item())


def _of_training(results: Sequence[MinibatchResult], parallel: Parallel) -> dict[str, float]:
    norms = [result.update.grad_norm for result in results if result.update.applied]
    of_norms = {"grad_norm": sum(norms) / len(norms), "grad_norm_max": max(norms)} if norms else {}
    return {
        "loss": sum(result.loss for result in results) / len(results),
        **of_norms,
        "learning_rate": results[-1].update.learning_rate,
        **figures.combine([result.figures for result in results]).values(),
        **_mismatches(results, parallel),
    }


def _mismatches(results: Sequence[MinibatchResult], parallel: Parallel) -> dict[str, float]:
    """Learner against engine; left out where no such token was measured."""
    local = mismatch.combine(list(chain.from_iterable(result.mismatches for result in results)))
    return local.over_ranks(parallel).figures()
