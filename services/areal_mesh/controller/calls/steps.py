"""Calls of the learner: the next step, and a step's commit."""

import math
from typing import Any

import structlog

from areal_mesh.controller.calls.claims import check_batch, untrainable
from areal_mesh.controller.calls.parts import Calls, stage_message, wait_seconds
from areal_mesh.controller.changes import Change
from areal_mesh.controller.membership import Member
from areal_mesh.controller.publish.task import SETTLING
from areal_mesh.controller.running import running_groups
from areal_mesh.runtime.errors import invalid_argument, permission_denied
from areal_mesh.v1 import common_pb2, controller_pb2, rollout_pb2

_LOG = structlog.get_logger("controller")


class StepCalls(Calls):
    """Steps."""

    async def _learner(self, service_id: str, incarnation: str) -> Member:
        member = await self._member(service_id, incarnation)
        if member.role != common_pb2.ROLE_LEARNER:
            raise permission_denied(f"{service_id} is not registered as the learner")
        return member

    async def NextStep(self, request: controller_pb2.NextStepRequest, context: Any) -> controller_pb2.NextStepResponse:
        learner = await self._learner(request.service_id, request.incarnation)
        if request.policy_version <= self._run.version:
            self._roster.holds(learner.key, request.policy_version)
        self._changes.notify(Change.MEMBERS)
        goes_on = await self._changes.until(
            lambda: self._run.over or not self._run.paused, wait_seconds(request.wait), Change.STATE, Change.STEPS
        )
        if not goes_on:
            return controller_pb2.NextStepResponse(wait=True)
        order = self._run.next_step(request.policy_version)
        if order is None:
            return controller_pb2.NextStepResponse(finished=True)
        return controller_pb2.NextStepResponse(
            step=order.step,
            stage=stage_message(self._run.plan.stages, order.stage),
            batch_groups=self._run.plan.pacing.batch_groups,
            max_staleness=self._run.plan.pacing.max_staleness,
            restart_optimizer=order.restarts.optimizer,
            restart_reference=order.restarts.reference,
            running=[
                rollout_pb2.RunningGroup(group_id=group_id, oldest_policy_version=version)
                for group_id, version in running_groups(self._run).items()
            ],
        )

    async def CheckBatch(
        self, request: controller_pb2.CheckBatchRequest, context: Any
    ) -> controller_pb2.CheckBatchResponse:
        await self._learner(request.service_id, request.incarnation)
        named = {group.group_id: group.reason for group in request.unusable if group.group_id in request.group_ids}
        rows = {group_id: self._run.groups.find(group_id) for group_id in request.group_ids}
        found = untrainable(rows, request.step)
        unusable = found | named
        if unusable:
            _LOG.error("groups that cannot be trained on are set aside", step=request.step, groups=unusable)
            self._run.groups.set_aside(unusable)
            self._changes.notify(Change.PLACES)
        return controller_pb2.CheckBatchResponse(
            unusable=[controller_pb2.UnusableGroup(group_id=name, reason=why) for name, why in unusable.items()]
        )

    async def CommitStep(
        self, request: controller_pb2.CommitStepRequest, context: Any
    ) -> controller_pb2.CommitStepResponse:
        if request.policy_version != request.step:
            raise invalid_argument("policy_version", f"step {request.step} makes version {request.step}, no other")
        if request.group_tokens and len(request.group_tokens) != len(request.group_ids):
            counts = f"{len(request.group_tokens)} counts for {len(request.group_ids)} groups"
            raise invalid_argument("group_tokens", f"{counts}; give one for each, or none")
        check_batch(request, self._parts.settings)
        unfit = sorted(name for name, value in request.metrics.items() if not math.isfinite(value))
        if unfit:
            _LOG.warning("figures that are no numbers are left out", step=request.step, metrics=unfit)
        metrics = {name: value for name, value in request.metrics.items() if math.isfinite(value)}
        metrics |= _update_times(metrics, self._parts.clock.unix())
        learner = await self._learner(request.service_id, request.incarnation)
        new = self._run.commit(request.step, request.group_ids, metrics, request.staleness, request.group_tokens)
        if new:
            stage = self._run.last_step.stage if self._run.last_step else None
            _LOG.info("committed", step=request.step, stage=stage, reward=metrics.get("reward"))
        self._roster.holds(learner.key, request.policy_version)
        self._parts.publisher.weights_stand_still(learner.key)
        self._changes.notify(Change.STEPS)
        await self._changes.until(lambda: self._parts.publisher.settled, self._publish_seconds(), *SETTLING)
        finished = self._run.stopping or (self._run.finished and request.step >= self._run.version)
        return controller_pb2.CommitStepResponse(finished=finished)

    def _publish_seconds(self) -> float:
        """Longest time that a commit waits for its publish: every attempt taking its time in full."""
        settings = self._parts.settings.weights
        return settings.attempts * (settings.prepare_seconds + settings.transfer_seconds)


def _update_times(metrics: dict[str, float], now: float) -> dict[str, float]:
    """Takes `update_age` out of the metrics; when the update began and ended by the controller's clock."""
    age = metrics.pop("update_age", None)
    if age is None or "update_seconds" not in metrics:
        return {}
    finished = now - age
    return {"update_started": finished - metrics["update_seconds"], "update_finished": finished}
