"""Calls of the learner: the next step, and a step's commit."""

import math
from collections.abc import Sized
from dataclasses import dataclass

import structlog

from areal_mesh.controller.calls.callers import Callers, MemberRequest
from areal_mesh.controller.calls.claims import check_batch, untrainable
from areal_mesh.controller.calls.messages import stage_message, wait_seconds
from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.condition import CHECKPOINT_STEP
from areal_mesh.controller.ending import learner_done
from areal_mesh.controller.fault_reports import FaultReports
from areal_mesh.controller.faults import FaultKind
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.mismatch import mismatch_alarm
from areal_mesh.controller.publish.task import SETTLING, Publisher
from areal_mesh.controller.run import Run
from areal_mesh.controller.running import running_groups
from areal_mesh.runtime.errors import invalid_argument, permission_denied
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import common_pb2, controller_pb2, rollout_pb2

_LOG = structlog.get_logger("controller")


@dataclass(frozen=True)
class StepCalls:
    """Steps."""

    run: Run
    settings: RunSettings
    roster: Roster
    callers: Callers
    publisher: Publisher
    changes: Changes
    clock: Clock
    faults: FaultReports
    prompts: Sized
    """Those of an epoch."""

    async def _learner(self, request: MemberRequest) -> Member:
        member = await self.callers.wait_for(request)
        if member.role != common_pb2.ROLE_LEARNER:
            raise permission_denied(f"{request.service_id} is not registered as the learner")
        return member

    async def next(self, request: controller_pb2.NextStepRequest) -> controller_pb2.NextStepResponse:
        """Tells the learner its next step, once the run is not held, or that there is none."""
        learner = await self._learner(request)
        if request.policy_version <= self.run.version:
            self.roster.holds(learner.key, request.policy_version)
        self.changes.notify(Change.MEMBERS)
        goes_on = await self.changes.until(
            lambda: self.run.over or not self.run.paused, wait_seconds(request.wait), Change.STATE, Change.STEPS
        )
        if not goes_on:
            return controller_pb2.NextStepResponse(wait=True)
        order = self.run.next_step(request.policy_version)
        if order is None:
            return controller_pb2.NextStepResponse(finished=True)
        return controller_pb2.NextStepResponse(
            step=order.step,
            stage=stage_message(self.run.settings.stages, order.stage),
            batch_groups=self.run.settings.algorithm.batch_groups,
            max_staleness=self.run.settings.algorithm.max_staleness,
            restart_optimizer=order.restarts.optimizer,
            restart_reference=order.restarts.reference,
            running=[
                rollout_pb2.RunningGroup(group_id=group_id, oldest_policy_version=version)
                for group_id, version in running_groups(self.run).items()
            ],
            published_version=self.run.published_version,
        )

    async def check_batch(self, request: controller_pb2.CheckBatchRequest) -> controller_pb2.CheckBatchResponse:
        """Tells the learner which groups of a drawn batch cannot be trained on, and ends those as filtered."""
        await self._learner(request)
        named = {group.group_id: group.reason for group in request.unusable if group.group_id in request.group_ids}
        rows = {group_id: self.run.groups.find(group_id) for group_id in request.group_ids}
        found = untrainable(rows, request.step)
        unusable = found | named
        if unusable:
            _LOG.error("groups that cannot be trained on are set aside", step=request.step, groups=unusable)
            self.run.groups.set_aside(unusable)
            self.changes.notify(Change.PLACES)
        return controller_pb2.CheckBatchResponse(
            unusable=[controller_pb2.UnusableGroup(group_id=name, reason=why) for name, why in unusable.items()]
        )

    async def commit(self, request: controller_pb2.CommitStepRequest) -> controller_pb2.CommitStepResponse:
        """Commits a step; returns when its version is published, or nothing is to be published soon.

        A learner that goes on is not held up, but for the run's last version.
        """
        if request.policy_version != request.step:
            raise invalid_argument("policy_version", f"step {request.step} makes version {request.step}, no other")
        if request.group_tokens and len(request.group_tokens) != len(request.group_ids):
            counts = f"{len(request.group_tokens)} counts for {len(request.group_ids)} groups"
            raise invalid_argument("group_tokens", f"{counts}; give one for each, or none")
        check_batch(request, self.settings)
        unfit = sorted(name for name, value in request.metrics.items() if not math.isfinite(value))
        if unfit:
            _LOG.warning("figures that are no numbers are left out", step=request.step, metrics=unfit)
        metrics = {name: value for name, value in request.metrics.items() if math.isfinite(value)}
        metrics |= _update_times(metrics, self.clock.unix())
        metrics["epoch_share"] = len(request.group_ids) / len(self.prompts)
        learner = await self._learner(request)
        new = self.run.commit(request.step, request.group_ids, metrics, request.staleness, request.group_tokens)
        if new:
            stage = self.run.last_step.stage if self.run.last_step else None
            _LOG.info("committed", step=request.step, stage=stage, reward=metrics.get("reward"))
            alarm = mismatch_alarm(self.settings.learner, self.run.totals.mismatch_kl)
            self.faults.put(request.service_id, FaultKind.MISMATCH, alarm)
        self.roster.holds(learner.key, request.policy_version)
        self.publisher.learner_committed(learner.key)
        self.changes.notify(Change.STEPS)
        if self._finished(request.step) or not request.goes_on:
            await self.changes.until(lambda: self.publisher.settled, self._publish_seconds(), *SETTLING)
        return controller_pb2.CommitStepResponse(
            finished=self._finished(request.step), checkpoint=self.run.ledger.read(CHECKPOINT_STEP) == str(request.step)
        )

    def _finished(self, step: int) -> bool:
        """Whether the learner that committed `step` is done."""
        return learner_done(self.run.over, self.run.stopping, self.run.version, step)

    def _publish_seconds(self) -> float:
        """Longest time that a commit waits for its publish: every attempt taking its time in full."""
        settings = self.settings.weights
        return settings.attempts * (settings.prepare_seconds + settings.transfer_seconds)


def _update_times(metrics: dict[str, float], now: float) -> dict[str, float]:
    """Takes `update_age` out of the metrics; when the update began and ended by the controller's clock."""
    age = metrics.pop("update_age", None)
    if age is None or "update_seconds" not in metrics:
        return {}
    finished = now - age
    return {"update_started": finished - metrics["update_seconds"], "update_finished": finished}
