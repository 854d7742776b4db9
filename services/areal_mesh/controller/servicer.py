"""ControllerService: decodes, asks the run and the roster, answers. Long polls wait for changes, each with a deadline.

No call holds a lock, so leases go on while weights are published.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from google.protobuf.duration_pb2 import Duration

from areal_mesh.controller.clock import Changes, Clock
from areal_mesh.controller.durations import from_duration, to_duration
from areal_mesh.controller.groups import StoredFigures
from areal_mesh.controller.membership import Introduction, Member, Roster, holder_key
from areal_mesh.controller.prompts import PromptFile, group_seed
from areal_mesh.controller.publisher import Publisher
from areal_mesh.controller.records import GroupRow
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.run import Run
from areal_mesh.runtime.errors import aborted, invalid_argument
from areal_mesh.runtime.identity import role_name
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, rollout_pb2

_LOG = structlog.get_logger("controller")
_LONGEST_WAIT_SECONDS = 60.0
_KEYS_KEPT = 8  # of one member: a call is sent again while it is still the newest or nearly so
_MEMBER_ROLES = (common_pb2.ROLE_GENERATOR, common_pb2.ROLE_VERIFIER, common_pb2.ROLE_REPLAY, common_pb2.ROLE_LEARNER)


@dataclass
class Parts:
    """What the servicers work on."""

    settings: RunSettings
    run: Run
    roster: Roster
    changes: Changes
    clock: Clock
    prompts: PromptFile
    replay: ReplayLink
    publisher: Publisher
    joined: Callable[[Member], None]
    """Called when a member has registered, before it is answered."""
    issued: dict[str, "OrderedDict[str, list[str]]"] = field(default_factory=dict)
    """Group ids by member's life and idempotency key."""


class ControllerServicer(controller_pb2_grpc.ControllerServiceServicer):
    """ControllerService on the run's parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._run = parts.run
        self._roster = parts.roster
        self._changes = parts.changes
        self._settings = parts.settings.controller

    # --- membership ----------------------------------------------------------------------------------------------

    async def Register(self, request: controller_pb2.RegisterRequest, context: Any) -> controller_pb2.RegisterResponse:
        _present(request, "service_id", "address", "incarnation")
        if request.role not in _MEMBER_ROLES:
            raise invalid_argument("role", "expected the role of a generator, verifier, replay buffer or learner")
        key = holder_key(request.service_id, request.incarnation)
        now = self._parts.clock.unix()
        new_life = self._run.ledger.member_started(
            key, request.service_id, role_name(request.role), request.address, now
        )
        introduction = Introduction(
            service_id=request.service_id,
            incarnation=request.incarnation,
            role=request.role,
            address=request.address,
            policy_version=request.policy_version,
            transfer_ranks=request.transfer_ranks,
        )
        replaced = self._roster.register(introduction, self._parts.clock.monotonic(), new_life)
        if replaced is not None:
            self._run.groups.free(replaced.key, "its generator was restarted")
            self._parts.issued.pop(replaced.key, None)
        _LOG.info("registered", member=request.service_id, address=request.address, version=request.policy_version)
        member = self._roster.speak(request.service_id, request.incarnation, self._parts.clock.monotonic())
        self._parts.joined(member)
        self._changes.notify()
        return controller_pb2.RegisterResponse(
            run_name=self._run.plan.name,
            heartbeat_interval=to_duration(self._settings.heartbeat_seconds),
            lease=to_duration(self._settings.lease_seconds),
            policy_version=self._run.version,
            step=self._run.version,
        )

    async def Heartbeat(
        self, request: controller_pb2.HeartbeatRequest, context: Any
    ) -> controller_pb2.HeartbeatResponse:
        now = self._parts.clock.monotonic()
        member = self._roster.speak(request.service_id, request.incarnation, now)
        news = (member.state, member.policy_version)
        if request.state not in (common_pb2.SERVICE_STATE_UNSPECIFIED, common_pb2.SERVICE_STATE_LOST):
            member.state = request.state
        self._roster.holds(member.key, request.policy_version)
        member.rate, member.rate_unit = request.rate, request.rate_unit
        member.progress_at = now - request.seconds_since_progress
        member.metrics = dict(request.metrics)
        lost = self._run.groups.renew(member.key, request.group_ids)
        if news != (member.state, member.policy_version):
            self._changes.notify()
        else:
            self._changes.note()
        return controller_pb2.HeartbeatResponse(drain=self._drains(member), lost_group_ids=lost)

    def _drains(self, member: Member) -> bool:
        """At the end of the run members leave in this order, so that each finishes what it holds.

        Generators before the verifiers that grade for them; the learner, once it holds the last version, before the
        replay buffer it draws from.
        """
        if not self._run.over:
            return False
        if member.role == common_pb2.ROLE_VERIFIER:
            return not self._roster.live(common_pb2.ROLE_GENERATOR)
        if member.role == common_pb2.ROLE_REPLAY:
            return not (self._roster.live(common_pb2.ROLE_LEARNER) or self._roster.live(common_pb2.ROLE_GENERATOR))
        if member.role == common_pb2.ROLE_LEARNER:
            return self._run.stopping or member.policy_version >= self._run.version
        return True

    async def Deregister(
        self, request: controller_pb2.DeregisterRequest, context: Any
    ) -> controller_pb2.DeregisterResponse:
        key = holder_key(request.service_id, request.incarnation)
        if self._roster.remove(request.service_id, request.incarnation) is not None:
            _LOG.info("left", member=request.service_id, reason=request.reason)
        self._run.groups.give_back(key)
        self._parts.issued.pop(key, None)
        self._changes.notify()
        return controller_pb2.DeregisterResponse()

    async def FindMembers(
        self, request: controller_pb2.FindMembersRequest, context: Any
    ) -> controller_pb2.FindMembersResponse:
        found = self._roster.of_role(request.role)
        return controller_pb2.FindMembersResponse(
            members=[
                controller_pb2.Member(service_id=member.service_id, address=member.address, state=member.state)
                for member in found
                if member.state != common_pb2.SERVICE_STATE_STOPPED
            ]
        )

    async def _member(self, service_id: str, incarnation: str) -> Member:
        """The caller. After a restart of the controller, members register again with their next heartbeat."""
        await self._changes.until(
            lambda: self._roster.knows(service_id, incarnation), self._settings.lease_seconds
        )
        return self._roster.speak(service_id, incarnation, self._parts.clock.monotonic())

    # --- groups --------------------------------------------------------------------------------------------------

    async def LeaseGroups(
        self, request: controller_pb2.LeaseGroupsRequest, context: Any
    ) -> controller_pb2.LeaseGroupsResponse:
        _present(request, "idempotency_key")
        if request.max_groups < 1:
            raise invalid_argument("max_groups", f"{request.max_groups} is under 1")
        member = await self._member(request.service_id, request.incarnation)
        repeated = self._parts.issued.get(member.key, {}).get(request.idempotency_key)
        if repeated is not None:
            rows = [row for row in self._run.groups.held_by(member.key) if row.group_id in repeated]
            return self._leases(rows)
        await self._changes.until(
            lambda: self._run.over or (self._may_lease(member) and self._run.admits() > 0), _wait(request.wait)
        )
        # The wait may have outlived this life of the member.
        member = self._roster.speak(request.service_id, request.incarnation, self._parts.clock.monotonic())
        if not self._may_lease(member):
            return self._leases([])
        rows = self._run.lease(member.key, request.max_groups, lambda sequence: self._parts.prompts.at(sequence).prompt_id)
        if rows:
            keys = self._parts.issued.setdefault(member.key, OrderedDict())
            keys[request.idempotency_key] = [row.group_id for row in rows]
            while len(keys) > _KEYS_KEPT:
                keys.popitem(last=False)
        return self._leases(rows)

    def _may_lease(self, member: Member) -> bool:
        """Whether a generator holds at least the published weights, and is to stay."""
        return (
            not member.quarantined
            and member.state != common_pb2.SERVICE_STATE_DRAINING
            and member.policy_version >= self._run.published_version >= 0
        )

    def _leases(self, rows: Sequence[GroupRow]) -> controller_pb2.LeaseGroupsResponse:
        return controller_pb2.LeaseGroupsResponse(
            leases=[self._lease(row) for row in rows], finished=self._run.over and not rows
        )

    def _lease(self, row: GroupRow) -> controller_pb2.Lease:
        problem = self._parts.prompts.at(row.sequence)
        algorithm = self._parts.settings.algorithm
        stage = self.stage(row.stage)
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
                seed=group_seed(self._parts.settings.seed, row.sequence),
            ),
            stage=stage,
            duration=to_duration(self._settings.lease_seconds),
            attempt=row.attempt,
        )

    def stage(self, index: int) -> common_pb2.Stage:
        """A stage as the contracts say it."""
        plan = self._run.plan.stages[index]
        return common_pb2.Stage(index=index, name=plan.name, max_response_tokens=plan.max_response_tokens)

    async def EndLease(self, request: controller_pb2.EndLeaseRequest, context: Any) -> controller_pb2.EndLeaseResponse:
        _present(request, "service_id", "incarnation", "group_id")
        holder = holder_key(request.service_id, request.incarnation)
        groups = self._run.groups
        if request.end == controller_pb2.LEASE_END_STORED:
            if not math.isfinite(request.mean_reward):
                raise invalid_argument("mean_reward", f"{request.mean_reward} is not a finite number")
            figures = StoredFigures(request.oldest_policy_version, request.response_tokens, request.mean_reward)
            groups.store(request.group_id, figures)
        elif request.end == controller_pb2.LEASE_END_FILTERED:
            groups.filter(holder, request.group_id, request.reason)
        elif request.end == controller_pb2.LEASE_END_FAILED:
            groups.fail(holder, request.group_id, request.reason)
        elif request.end == controller_pb2.LEASE_END_RETURNED:
            groups.give_back(holder, [request.group_id])
        else:
            raise invalid_argument("end", "say how the lease ended: stored, filtered, failed or returned")
        self._changes.notify()
        return controller_pb2.EndLeaseResponse()

    async def ReportStale(
        self, request: controller_pb2.ReportStaleRequest, context: Any
    ) -> controller_pb2.ReportStaleResponse:
        reason = f"too old to be drawn at version {request.policy_version}"
        self._run.groups.drop_stale(request.group_ids, reason)
        self._changes.notify()
        return controller_pb2.ReportStaleResponse()

    # --- steps ---------------------------------------------------------------------------------------------------

    async def _learner(self, service_id: str, incarnation: str, policy_version: int) -> Member:
        member = await self._member(service_id, incarnation)
        current = self._roster.only(common_pb2.ROLE_LEARNER)
        if member.role != common_pb2.ROLE_LEARNER or (current is not None and current.key != member.key):
            raise aborted(f"{service_id} is not this run's learner; {current.service_id if current else 'none'} is")
        self._roster.holds(member.key, policy_version)
        return member

    async def NextStep(self, request: controller_pb2.NextStepRequest, context: Any) -> controller_pb2.NextStepResponse:
        if request.policy_version < 0:
            raise invalid_argument("policy_version", f"{request.policy_version} is under 0")
        await self._learner(request.service_id, request.incarnation, request.policy_version)
        self._changes.notify()
        goes_on = await self._changes.until(lambda: self._run.over or not self._run.paused, _wait(request.wait))
        if not goes_on:
            return controller_pb2.NextStepResponse(wait=True)
        order = self._run.next_step(request.policy_version)
        if order is None:
            return controller_pb2.NextStepResponse(finished=True)
        return controller_pb2.NextStepResponse(
            step=order.step,
            stage=self.stage(order.stage),
            batch_groups=self._run.plan.pacing.batch_groups,
            max_staleness=self._run.plan.pacing.max_staleness,
            restart_optimizer=order.restarts.optimizer,
            restart_reference=order.restarts.reference,
        )

    async def CommitStep(
        self, request: controller_pb2.CommitStepRequest, context: Any
    ) -> controller_pb2.CommitStepResponse:
        if request.step < 1 or request.policy_version != request.step:
            raise invalid_argument("policy_version", f"step {request.step} makes version {request.step}, no other")
        unfit = sorted(name for name, value in request.metrics.items() if not math.isfinite(value))
        if unfit:
            _LOG.warning("figures that are no numbers are left out", step=request.step, metrics=unfit)
        metrics = {name: value for name, value in request.metrics.items() if math.isfinite(value)}
        learner = await self._learner(request.service_id, request.incarnation, min(request.step, self._run.version + 1))
        new = self._run.commit(request.step, request.group_ids, metrics, request.staleness)
        if new:
            _LOG.info("committed", step=request.step, stage=self._run.steps[-1].stage, reward=metrics.get("reward"))
        self._parts.publisher.weights_stand_still(learner.key)
        self._changes.notify()
        await self._changes.until(lambda: self._parts.publisher.settled, self._publish_seconds())
        finished = self._run.stopping or (self._run.finished and request.step >= self._run.version)
        return controller_pb2.CommitStepResponse(published_version=self._run.published_version, finished=finished)

    def _publish_seconds(self) -> float:
        """Longest time that a commit waits for its publish: every attempt taking its time in full."""
        settings = self._settings
        return settings.publish_attempts * (settings.prepare_seconds + settings.transfer_seconds)

    # --- control -------------------------------------------------------------------------------------------------

    async def Pause(self, request: controller_pb2.PauseRequest, context: Any) -> controller_pb2.PauseResponse:
        self._run.pause()
        self._changes.notify()
        return controller_pb2.PauseResponse()

    async def Resume(self, request: controller_pb2.ResumeRequest, context: Any) -> controller_pb2.ResumeResponse:
        self._run.resume()
        self._changes.notify()
        return controller_pb2.ResumeResponse()

    async def Stop(self, request: controller_pb2.StopRequest, context: Any) -> controller_pb2.StopResponse:
        _LOG.info("asked to stop", reason=request.reason)
        self._run.stop(request.reason)
        self._changes.notify()
        return controller_pb2.StopResponse()

    async def AdvanceStage(
        self, request: controller_pb2.AdvanceStageRequest, context: Any
    ) -> controller_pb2.AdvanceStageResponse:
        entry = self._run.advance_stage(request.from_stage)
        _LOG.info("stage advanced by hand", stage=entry.stage, first_step=entry.first_step)
        self._changes.notify()
        return controller_pb2.AdvanceStageResponse(stage=self.stage(entry.stage))

    async def GetConfig(
        self, request: controller_pb2.GetConfigRequest, context: Any
    ) -> controller_pb2.GetConfigResponse:
        return controller_pb2.GetConfigResponse(settings_json=self._parts.settings.model_dump_json())


def _present(request: Any, *fields: str) -> None:
    for name in fields:
        if not getattr(request, name):
            raise invalid_argument(name, "has to be set")


def _wait(wait: Duration) -> float:
    seconds = from_duration(wait)
    if seconds < 0:
        raise invalid_argument("wait", f"{seconds} s is under 0")
    return min(seconds, _LONGEST_WAIT_SECONDS)
