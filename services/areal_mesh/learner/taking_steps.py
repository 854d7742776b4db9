"""One step of training, from drawn groups to new weights: one for the learner of a run and a replay of its log."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.batches.decoding import decode_batch, shuffle_rewards
from areal_mesh.learner.step_result import StepResult
from areal_mesh.v1 import rollout_pb2


@dataclass(frozen=True)
class StepPlan:
    """What a step is taken with, beside its batch."""

    step: int
    stage: int
    """Position of its stage in the schedule, for what a stage sets otherwise."""
    restart_optimizer: bool = False
    restart_reference: bool = False


class TakesSteps(Protocol):
    """A trainer, or the leader of several ranks."""

    def step(self, batch: TrainingBatch, stage: int) -> StepResult:
        """Learns from one batch; commits a policy version."""

    def restart(self, optimizer: bool, reference: bool) -> None:
        """Forgets the optimizer's state, and takes the policy as the KL reference, as far as asked for."""


def take_step(
    trainer: TakesSteps, plan: StepPlan, groups: Sequence[rollout_pb2.Group], shuffled_rewards: bool
) -> StepResult:
    """Restarts what is to restart, and learns from the batch. Nothing else of a run changes weights.

    Raises what decoding the groups and the step raise.
    """
    if plan.restart_optimizer or plan.restart_reference:
        trainer.restart(optimizer=plan.restart_optimizer, reference=plan.restart_reference)
    batch = decode_batch(groups)
    if shuffled_rewards:
        batch = replace(batch, rewards=shuffle_rewards(batch.rewards, seed=plan.step))
    return trainer.step(batch, plan.stage)
