"""Leases as a generator is told of them: the prompt, how to sample, the seal that the replay buffer knows them by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from areal_mesh.controller.calls.messages import stage_message
from areal_mesh.controller.prompts import PromptFile, group_seed
from areal_mesh.controller.records import GroupRow
from areal_mesh.runtime.lease_seal import LeaseTerms, lease_seal
from areal_mesh.runtime.problems import Problem
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import controller_pb2, rollout_pb2


@dataclass(frozen=True)
class LeaseMessages:
    """Writes leases.

    Args:
        lease_key: with what leases are sealed.
    """

    settings: RunSettings
    prompts: PromptFile
    lease_key: bytes

    def of(self, rows: Sequence[GroupRow], read: Mapping[int, Problem]) -> list[controller_pb2.Lease]:
        """The leases of these groups; `read`: problems that were read already, by sequence."""
        return [self._lease(row, read.get(row.sequence) or self.prompts.at(row.sequence)) for row in rows]

    def _lease(self, row: GroupRow, problem: Problem) -> controller_pb2.Lease:
        algorithm = self.settings.in_stage(row.stage).algorithm
        stage = stage_message(self.settings.stages, row.stage)
        terms = LeaseTerms(
            group_id=row.group_id,
            sequence=row.sequence,
            prompt_id=row.prompt_id,
            stage=stage.index,
            max_response_tokens=stage.max_response_tokens,
            responses=algorithm.responses,
            temperature=algorithm.temperature,
        )
        return controller_pb2.Lease(
            group_id=row.group_id,
            sequence=row.sequence,
            prompt=rollout_pb2.Prompt(
                prompt_id=problem.prompt_id,
                problem=problem.problem,
                gold_answers=problem.gold_answers,
                source=problem.source,
            ),
            sampling=rollout_pb2.Sampling(
                responses=algorithm.responses,
                temperature=algorithm.temperature,
                top_p=algorithm.top_p,
                max_response_tokens=stage.max_response_tokens,
                seed=group_seed(self.settings.seed, row.sequence),
            ),
            stage=stage,
            attempt=row.attempt,
            seal=lease_seal(self.lease_key, terms),
        )
