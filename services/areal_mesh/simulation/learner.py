"""A simulated learner: draws batches from the replay buffer, lets an update's time pass, and commits."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import grpc.aio

from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.groups import oldest_policy_version
from areal_mesh.runtime.identity import Identity
from areal_mesh.simulation.figures import Figures
from areal_mesh.simulation.member import CALL_SECONDS, SimulatedMember, plain_channel
from areal_mesh.simulation.plan import Plan
from areal_mesh.simulation.servicer import WeightsServicer
from areal_mesh.v1 import controller_pb2, replay_pb2, replay_pb2_grpc, rollout_pb2

_WAIT_SECONDS = 5.0
_HEARTBEAT_SECONDS = 1.0


@dataclass(frozen=True)
class SimulatedLearner:
    """The learner. Each of its steps is covered by a checkpoint, so that the buffer keeps none."""

    plan: Plan
    weights: WeightsServicer
    figures: Figures
    replay: grpc.aio.Channel

    async def run(self, controller: str, address: str, run_name: str) -> None:
        """Takes every step of the run."""
        me = Identity("learner", "simulated-learner")
        async with plain_channel(controller) as channel, asyncio.TaskGroup() as tasks:
            member = SimulatedMember(me, channel, self.figures)
            await member.register(address, version=0, run_name=run_name)
            beating = tasks.create_task(member.beat(lambda: (self.weights.learner_version, ()), _HEARTBEAT_SECONDS))
            while await self._step(member):
                pass
            beating.cancel()
            await member.leave()

    async def _step(self, member: SimulatedMember) -> bool:
        """Takes the next step; False once there is none."""
        request = controller_pb2.NextStepRequest(
            **member.me, policy_version=self.weights.learner_version, wait=to_duration(_WAIT_SECONDS)
        )
        order = await member.call(member.stub.NextStep, request)
        if order.finished:
            return False
        batch = [] if order.wait else await self._draw(member, order)
        if not batch:
            return True
        await asyncio.sleep(self.plan.real(self.plan.step_seconds))
        finished = await self._commit(member, order.step, batch)
        stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(self.replay)
        await self._release(member, stub, order.step)
        return not finished

    async def _draw(self, member: SimulatedMember, order: controller_pb2.NextStepResponse) -> list[rollout_pb2.Group]:
        """The batch of a step; nothing where it is not complete yet."""
        stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(self.replay)
        request = replay_pb2.DrawBatchRequest(
            **member.me,
            step=order.step,
            batch_groups=order.batch_groups,
            policy_version=self.weights.learner_version,
            max_staleness=order.max_staleness,
            wait=to_duration(_WAIT_SECONDS),
            running=order.running,
            published_version=order.published_version,
        )
        batch: list[rollout_pb2.Group] = []
        try:
            async for part in stub.DrawBatch(request, timeout=CALL_SECONDS, metadata=member.metadata):
                if part.HasField("group"):
                    batch.append(part.group)
                elif part.header.stale_group_ids:
                    await self._report_stale(member, part.header.stale_group_ids)
        except grpc.aio.AioRpcError as error:
            # What the buffer knows of the run comes with its heartbeats, and may be a step behind.
            if error.code() not in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED):
                raise
            self.figures.again += 1
            await asyncio.sleep(_HEARTBEAT_SECONDS / 10)
            return []
        return batch

    async def _report_stale(self, member: SimulatedMember, group_ids: Iterable[str]) -> None:
        stale = list(group_ids)
        self.figures.stale += len(stale)
        request = controller_pb2.ReportStaleRequest(
            service_id=member.me["service_id"],
            incarnation=member.me["incarnation"],
            group_ids=stale,
            policy_version=self.weights.learner_version,
        )
        await member.call(member.stub.ReportStale, request)

    async def _commit(self, member: SimulatedMember, step: int, batch: list[rollout_pb2.Group]) -> bool:
        """Commits a step, and counts what it trained on; whether it was the last."""
        limits = [group.stage.max_response_tokens for group in batch]
        tokens = [
            sum(self.plan.lengths.of_group(group.sequence, limit)) for group, limit in zip(batch, limits, strict=True)
        ]
        staleness: dict[int, int] = {}
        for group in batch:
            age = self.weights.learner_version - oldest_policy_version(group)
            staleness[age] = staleness.get(age, 0) + 1
        rewards = [response.verdict.reward for group in batch for response in group.responses]
        ends = [response.finish_reason for group in batch for response in group.responses]
        self.weights.learner_version = step
        request = controller_pb2.CommitStepRequest(
            **member.me,
            step=step,
            policy_version=step,
            group_ids=[group.group_id for group in batch],
            metrics={
                "reward": sum(rewards) / len(rewards),
                "truncated": ends.count(rollout_pb2.FINISH_REASON_LENGTH) / len(ends),
                "response_length": sum(tokens) / len(rewards),
                "response_tokens": float(sum(tokens)),
            },
            staleness=staleness,
            group_tokens=tokens,
        )
        began = time.perf_counter()
        response = await member.call(member.stub.CommitStep, request)
        self.figures.commits.append(time.perf_counter() - began)
        self.figures.steps = step
        for count in tokens:
            self.figures.trained_tokens.add(count)
        for age, groups in staleness.items():
            self.figures.staleness[age] = self.figures.staleness.get(age, 0) + groups
        return response.finished

    async def _release(
        self, member: SimulatedMember, stub: "replay_pb2_grpc.ReplayServiceAsyncStub", step: int
    ) -> None:
        """Lets the buffer forget a step; where it has not heard of the commit yet, a later step does it."""
        request = replay_pb2.ReleaseStepsRequest(**member.me, step=step)
        try:
            await member.call(stub.ReleaseSteps, request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
