"""Before the passes: which responses are trained on, and this rank's micro-batches of each minibatch."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.batches.micro_batch import MicroBatch, MicroBatchBuilder
from areal_mesh.learner.batches.packing import Responses, plan_step
from areal_mesh.learner.losses.averaging import MinibatchTotals, token_weights
from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.overlong.inputs import OverlongInputs, OverlongOutputs
from areal_mesh.learner.overlong.table import build_overlong
from areal_mesh.runtime.settings import AlgorithmSettings, RunSettings


@dataclass
class Part:
    """A micro-batch and what has been found out about its R response tokens; float32 [R] each."""

    data: MicroBatch
    token_weights: Tensor
    proximal: Tensor | None = None
    reference: Tensor | None = None
    advantages: Tensor | None = None


@dataclass(frozen=True)
class Minibatch:
    """This rank's micro-batches of a minibatch."""

    parts: Sequence[Part]
    is_first: bool
    """Whether the policy that trains on it is still the one before the step."""


def treat_overlong(batch: TrainingBatch, algorithm: AlgorithmSettings) -> OverlongOutputs:
    """What becomes of responses near their limit; rewards in units of `algorithm.reward_scale`."""
    treatment = build_overlong(algorithm.overlong)
    return treatment(OverlongInputs(batch.response_lengths, batch.response_limits, batch.truncated))


def cut(
    batch: TrainingBatch,
    trained: Tensor,
    counted: Tensor,
    settings: RunSettings,
    policy_version: int,
    parallel: Parallel,
    dtype: torch.dtype,
    parity: int,
) -> list[Minibatch]:
    """This rank's minibatches of the responses that are trained on; none where there is no such response.

    Args:
        trained: bool [n], the same on every rank.
        counted: bool [n], those among them, and those that would give no gradient and are left out: they count in the
            means over a minibatch, each minibatch having its part of them.
        dtype: of the activations.
        parity: tokens at which attention costs as much as everything else.
    """
    indices = trained.nonzero().flatten().tolist()
    if not indices:
        return []
    whole = batch.group_index.tolist() if settings.algorithm.minibatch_by == "group" else None
    plan = plan_step(
        Responses(batch.sequence_lengths.tolist(), content_keys(batch, settings.seed), parity, whole),
        indices,
        settings.algorithm.minibatches,
        settings.learner.max_tokens_per_micro_batch,
        parallel.rank,
        parallel.world_size,
    )
    builder = MicroBatchBuilder(batch, policy_version, parallel.device, dtype)
    built = [[builder.build(members) for members in micro_batches] for micro_batches in plan]
    totals = parallel.sum(torch.tensor([_counts(micro_batches) for micro_batches in built], device=parallel.device))
    counts = totals.double().cpu() * (_counts_of(batch, counted) / _counts_of(batch, trained))
    return [
        Minibatch([_part(data, settings.algorithm, MinibatchTotals(*each)) for data in micro_batches], number == 0)
        for number, (micro_batches, each) in enumerate(zip(built, counts.tolist(), strict=True))
    ]


def over(minibatches: Sequence[Minibatch], epochs: int) -> Iterator[Minibatch]:
    """The minibatches so many times in turn; only the very first is trained on by the policy before the step."""
    for epoch in range(epochs):
        for minibatch in minibatches:
            yield replace(minibatch, is_first=minibatch.is_first and epoch == 0)


def content_keys(batch: TrainingBatch, seed: int) -> list[int]:
    """A number for each sequence by what it says and where it was sampled, and not by its place in the batch.

    The order of responses of equal length, so that a batch in another order is cut into the same minibatches.
    """
    tokens = torch.split(batch.token_ids, batch.sequence_lengths.tolist())
    sampled = torch.split(batch.behaviour_log_probs, batch.response_lengths.tolist())
    return [
        zlib.crc32(log_probs.numpy().tobytes(), zlib.crc32(sequence.numpy().tobytes(), seed))
        for sequence, log_probs in zip(tokens, sampled, strict=True)
    ]


def _counts(micro_batches: Sequence[MicroBatch]) -> list[int]:
    """Response tokens, responses and the sum of limits, as `MinibatchTotals` has them."""
    return [
        sum(data.targets.numel() for data in micro_batches),
        sum(data.response_lengths.numel() for data in micro_batches),
        sum(data.limit_tokens for data in micro_batches),
    ]


def _counts_of(batch: TrainingBatch, chosen: Tensor) -> Tensor:
    """The same of these responses of the batch; float64 [3]."""
    return torch.stack(
        [batch.response_lengths[chosen].sum(), chosen.sum(), batch.response_limits[chosen].sum()]
    ).double()


def _part(data: MicroBatch, algorithm: AlgorithmSettings, totals: MinibatchTotals) -> Part:
    return Part(data, token_weights(algorithm.average, data.response_lengths, totals))
