"""The learner's loop: ask for a step, draw its batch, update, commit, keep a checkpoint. It reads top to bottom."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc.aio
from google.protobuf import duration_pb2

from areal_mesh.learner.batch_check import BatchCheck
from areal_mesh.learner.batches.figures import batch_figures, staleness_histogram
from areal_mesh.learner.checkpoint_schedule import Checkpoints
from areal_mesh.learner.ranks import RankLeader
from areal_mesh.learner.snapshots import WeightSnapshots
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.stopwatch import Stopwatch
from areal_mesh.learner.taking_steps import StepPlan, take_step
from areal_mesh.learner.torch_thread import TorchThread
from areal_mesh.runtime.calling import Members, Patience
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.v1 import (
    controller_pb2,
    controller_pb2_grpc,
    replay_pb2,
    replay_pb2_grpc,
    rollout_pb2,
)

_POLL = duration_pb2.Duration(seconds=2)
_CALL = Patience(attempt_seconds=30.0)
T = TypeVar("T")
if TYPE_CHECKING:  # the stubs know the asynchronous class, the generated module does not
    Controller = controller_pb2_grpc.ControllerServiceAsyncStub


class TrainingLoop:
    """Steps until the run is finished or the service drains. Owns no weights: `leader` does."""

    def __init__(
        self,
        context: ServiceContext,
        members: Members,
        leader: RankLeader,
        snapshots: WeightSnapshots,
        checkpoints: Checkpoints,
        torch: TorchThread,
    ) -> None:
        self._context = context
        self._members = members
        self._leader = leader
        self._snapshots = snapshots
        self._checkpoints = checkpoints
        self._torch = torch
        self._check = BatchCheck(context.identity, members, leader, torch)
        self._idle = Stopwatch()
        """What kept the learner from training since the update before."""
        self.last_progress = time.monotonic()
        self.tokens_trained = 0
        self.tokens_per_second = 0.0
        self.mismatch_kl = 0.0

    async def run(self, draining: asyncio.Event) -> None:
        """Takes step after step; ends with a checkpoint and an export of the weights."""
        complete = False
        while not (complete or draining.is_set()):
            with self._idle.phase("order"):
                order = await self._next_step()
            complete = order.finished
            if order.wait or order.finished:
                await self._keep_ranks()
                continue
            groups = await self._draw(order)
            if groups is None:
                continue
            with self._idle.phase("check"):
                passes = await self._check.passes(order.step, groups)
            if not passes:
                continue
            commit = await self._update(order, groups)
            with self._idle.phase("commit"):
                response = await self._commit(commit)
            with self._idle.phase("checkpoint"):
                await self._checkpoints.after_step(order.step, order.stage.name, asked=response.checkpoint)
            complete = response.finished
        await self._checkpoints.finish(complete, draining)

    async def _next_step(self) -> controller_pb2.NextStepResponse:
        identity = self._context.identity
        request = controller_pb2.NextStepRequest(
            service_id=identity.service_id,
            incarnation=identity.incarnation,
            policy_version=self._leader.policy_version,
            wait=_POLL,
        )
        return await self._controller(lambda stub, seconds: stub.NextStep(request, timeout=seconds))

    async def _draw(self, order: controller_pb2.NextStepResponse) -> list[rollout_pb2.Group] | None:
        """The groups of the step's batch; None where it is not there yet: which groups run is to be asked anew."""
        request = replay_pb2.DrawBatchRequest(
            step=order.step,
            batch_groups=order.batch_groups,
            policy_version=self._leader.policy_version,
            max_staleness=order.max_staleness,
            wait=_POLL,
            service_id=self._context.identity.service_id,
            incarnation=self._context.identity.incarnation,
            running=order.running,
            published_version=order.published_version if order.HasField("published_version") else None,
        )
        header, groups = await self._members.call(
            "replay",
            lambda channel, seconds: _read_batch(channel, request, seconds, self._idle),
            Patience(attempt_seconds=self._context.settings.learner.draw_seconds),
        )
        if header.stale_group_ids:
            await self._report_stale(list(header.stale_group_ids))
        if header.complete:
            return groups
        await self._keep_ranks()
        return None

    async def _keep_ranks(self) -> None:
        """Tells the other ranks that there is nothing to do: a run may be paused for days."""
        if self._context.settings.learner.ranks > 1:
            await self._torch.run(self._leader.keep_followers)

    async def _report_stale(self, group_ids: list[str]) -> None:
        request = controller_pb2.ReportStaleRequest(
            service_id=self._context.identity.service_id,
            incarnation=self._context.identity.incarnation,
            group_ids=group_ids,
            policy_version=self._leader.policy_version,
        )
        await self._controller(lambda stub, seconds: stub.ReportStale(request, timeout=seconds))

    async def _update(
        self, order: controller_pb2.NextStepResponse, groups: list[rollout_pb2.Group]
    ) -> controller_pb2.CommitStepRequest:
        drawn_at = self._leader.policy_version
        waited = {f"idle_seconds_{cause}": seconds for cause, seconds in self._idle.take().items()}
        # Before the first update of this life there is the start of everybody else in it.
        idle = waited if self.tokens_trained else {}
        started = time.monotonic()
        result = await self._torch.run(lambda: self._train(order, groups))
        finished = self.last_progress = time.monotonic()
        with self._idle.phase("snapshot"):
            await self._snapshots.take()
        metrics = batch_figures(groups, drawn_at) | result.metrics() | idle
        self.tokens_trained += int(metrics["response_tokens"])
        self.tokens_per_second = metrics["response_tokens"] / max(finished - started, 1e-9)
        metrics |= {"update_seconds": finished - started, "snapshot_seconds": time.monotonic() - finished}
        identity = self._context.identity
        return controller_pb2.CommitStepRequest(
            service_id=identity.service_id,
            incarnation=identity.incarnation,
            step=order.step,
            policy_version=self._leader.policy_version,
            group_ids=[group.group_id for group in groups],
            metrics=metrics,
            staleness=staleness_histogram(groups, drawn_at),
            group_tokens=[sum(response.length for response in group.responses) for group in groups],
            # Without staleness the next batch needs this version: waiting for the publish saves asking for it.
            goes_on=self._context.settings.algorithm.max_staleness > 0,
        )

    def _train(self, order: controller_pb2.NextStepResponse, groups: list[rollout_pb2.Group]) -> StepResult:
        plan = StepPlan(order.step, order.stage.index, order.restart_optimizer, order.restart_reference)
        return take_step(self._leader, plan, groups, self._context.settings.algorithm.shuffle_rewards)

    async def _commit(self, request: controller_pb2.CommitStepRequest) -> controller_pb2.CommitStepResponse:
        settings = self._context.settings.weights
        publishing = settings.attempts * (settings.prepare_seconds + settings.transfer_seconds)
        patience = Patience(attempt_seconds=publishing + _CALL.attempt_seconds)

        def send(stub: "Controller", seconds: float) -> Awaitable[controller_pb2.CommitStepResponse]:
            # Told as an age, for the controller's clock is another; anew in each attempt.
            request.metrics["update_age"] = time.monotonic() - self.last_progress
            return stub.CommitStep(request, timeout=seconds)

        return await self._controller(send, patience)

    async def _controller(self, send: "Callable[[Controller, float], Awaitable[T]]", patience: Patience = _CALL) -> T:
        def call(channel: grpc.aio.Channel, seconds: float) -> Awaitable[T]:
            stub: Controller = controller_pb2_grpc.ControllerServiceStub(channel)
            return send(stub, seconds)

        return await self._members.call("controller", call, patience)


async def _read_batch(
    channel: grpc.aio.Channel, request: replay_pb2.DrawBatchRequest, seconds: float, idle: Stopwatch
) -> tuple[replay_pb2.DrawHeader, list[rollout_pb2.Group]]:
    """The header of a draw, and its groups in the batch's order; what was waited for, rollouts or bytes, to `idle`."""
    stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(channel)
    header = replay_pb2.DrawHeader()
    groups: list[rollout_pb2.Group] = []
    begun = chosen = time.perf_counter()
    async for part in stub.DrawBatch(request, timeout=seconds):
        if part.HasField("header"):
            header, chosen = part.header, time.perf_counter()
        else:
            groups.append(part.group)
    idle.add("rollouts", chosen - begun)
    idle.add("reading", time.perf_counter() - chosen)
    return header, groups
