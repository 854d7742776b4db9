"""The status of a run as plain values: frozen, typed, independent of the wire format."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from areal_mesh.runtime.identity import role_name
from areal_mesh.v1 import common_pb2, status_pb2


class RunState(StrEnum):
    """Where a run is."""

    UNKNOWN = "unknown"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"


class ServiceState(StrEnum):
    """Lifecycle of a service; LOST is the controller's word for one whose heartbeat stays away."""

    UNKNOWN = "unknown"
    STARTING = "starting"
    PENDING_WEIGHTS = "pending_weights"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Stage:
    """A context stage: its position from 0, and its response limit in tokens."""

    index: int
    name: str
    max_response_tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """A committed step."""

    step: int
    stage: Stage
    metrics: dict[str, float]
    """Its figures, by the names that they have in `metrics.jsonl`."""


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """Depth of the replay buffer: groups waiting to be drawn, and drawn ones kept until a checkpoint covers them."""

    waiting_groups: int
    waiting_bytes: int
    consumed_groups: int
    bytes_on_disk: int


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Groups by how they ended. leased = trained + stale + filtered + failed + open."""

    leased: int
    trained: int
    stale: int
    filtered: int
    failed: int
    open: int


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One member of the mesh as the controller sees it."""

    role: str
    service_id: str
    address: str
    state: ServiceState
    policy_version: int
    """The version it holds; -1 for none."""
    rate: float
    """What it does a second, in `rate_unit`."""
    rate_unit: str
    seconds_since_progress: float
    seconds_since_heartbeat: float
    starts: int
    """Lives of the service that the controller has seen."""
    waits_for: str = ""
    """What keeps weights from a generator that is to have them; empty where nothing does."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    """What it says of itself in its heartbeats, by metric name."""


@dataclass(frozen=True, slots=True)
class FaultStatus:
    """Something that a person has to see to: the service that it is of, and what is wrong, where, and what would do."""

    service_id: str
    text: str
    since_seconds: float
    holds_admission: bool
    """Whether nothing is leased until it is gone."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What the run does, at a glance."""

    run_name: str
    run_id: str
    """Tells the run from others of its name; empty where its services were started one by one."""
    state: RunState
    stage: Stage
    stages: int
    """Number of stages in the schedule."""
    step: int
    stage_step: int
    """Steps done, in all and in the stage."""
    planned_steps: int
    """Steps of the whole schedule; 0 where its rules leave them open."""
    policy_version: int
    published_version: int
    step_metrics: dict[str, float]
    """Metrics of the last step, by the names that they have in `metrics.jsonl`: `reward`, `response_length`, ... What
    it did not measure is of the last step that did."""
    replay: ReplayStatus
    staleness: dict[int, int]
    """Trained groups by staleness, over the run."""
    groups: GroupCounts
    services: tuple[ServiceStatus, ...]
    started: datetime | None
    last_step: datetime | None
    """When the last step was committed; None before the first."""
    tokens_generated: int
    tokens_trained: int
    weight_updates: int
    steps_without_update: int
    """Steps so far that made a version and moved no weight: all rewards were equal, or no gradient was finite."""
    last_pause_seconds: float
    group_tokens: dict[str, float] = dataclasses.field(default_factory=dict)
    """Mean response tokens of the groups that ended, by end."""
    end_reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    """Groups that ended stale, filtered or failed, by reason, the commonest first."""
    reason_tokens: dict[str, float] = dataclasses.field(default_factory=dict)
    """Mean response tokens of a group, by the same reasons."""
    faults: tuple[FaultStatus, ...] = ()
    """The oldest first."""
    new_steps: tuple[Step, ...] = ()
    """In a watch: the steps since the status before, each once, however fast they are."""

    @property
    def mean_staleness(self) -> float:
        """Mean staleness of the groups trained on so far; 0 before the first."""
        groups = sum(self.staleness.values())
        return sum(age * count for age, count in self.staleness.items()) / groups if groups else 0.0

    @property
    def finished(self) -> bool:
        """Whether nothing more will be learned."""
        return self.state is RunState.FINISHED

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON-ready values; times in ISO 8601, UTC."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def stage_of(message: common_pb2.Stage) -> Stage:
    """Decodes a stage."""
    return Stage(message.index, message.name, message.max_response_tokens)


def step_of(message: status_pb2.Step) -> Step:
    """Decodes a step."""
    return Step(message.step, stage_of(message.stage), dict(message.metrics))


def run_status_of(message: status_pb2.RunStatus, new_steps: Iterable[status_pb2.Step] = ()) -> RunStatus:
    """Decodes a run's status; states that this client does not know are UNKNOWN."""
    replay, groups = message.replay, message.groups
    return RunStatus(
        run_name=message.run_name,
        run_id=message.run_id,
        state=_run_state(message.state),
        stage=stage_of(message.stage),
        stages=message.stages,
        step=message.step,
        stage_step=message.stage_step,
        planned_steps=message.planned_steps,
        policy_version=message.policy_version,
        published_version=message.published_version,
        step_metrics=dict(sorted(message.step_metrics.items())),
        replay=ReplayStatus(replay.waiting_groups, replay.waiting_bytes, replay.consumed_groups, replay.bytes_on_disk),
        staleness=dict(sorted(message.staleness.items())),
        groups=GroupCounts(groups.leased, groups.trained, groups.stale, groups.filtered, groups.failed, groups.open),
        services=tuple(_service(service) for service in message.services),
        started=_time(message.started) if message.HasField("started") else None,
        last_step=_time(message.last_step) if message.HasField("last_step") else None,
        tokens_generated=message.tokens_generated,
        tokens_trained=message.tokens_trained,
        weight_updates=message.weight_updates,
        steps_without_update=message.steps_without_update,
        last_pause_seconds=message.last_pause.ToNanoseconds() / 1e9,
        group_tokens=dict(message.group_tokens),
        reason_tokens=dict(message.reason_tokens),
        end_reasons=dict(sorted(message.end_reasons.items(), key=lambda reason: (-reason[1], reason[0]))),
        faults=tuple(_fault(fault) for fault in message.faults),
        new_steps=tuple(step_of(step) for step in new_steps),
    )


def _service(message: status_pb2.ServiceStatus) -> ServiceStatus:
    return ServiceStatus(
        role=role_name(message.role),
        service_id=message.service_id,
        address=message.address,
        state=_service_state(message.state),
        policy_version=message.policy_version,
        rate=message.rate,
        rate_unit=message.rate_unit,
        seconds_since_progress=message.since_progress.ToNanoseconds() / 1e9,
        seconds_since_heartbeat=message.since_heartbeat.ToNanoseconds() / 1e9,
        starts=message.starts,
        waits_for=message.waits_for,
        metrics=dict(sorted(message.metrics.items())),
    )


def _fault(message: status_pb2.Fault) -> FaultStatus:
    return FaultStatus(message.service_id, message.text, message.since.ToNanoseconds() / 1e9, message.holds_admission)


def _time(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _run_state(number: int) -> RunState:
    value = status_pb2.RunState.DESCRIPTOR.values_by_number.get(number)
    name = value.name.removeprefix("RUN_STATE_") if value else ""
    return RunState[name] if name in RunState.__members__ else RunState.UNKNOWN


def _service_state(number: int) -> ServiceState:
    value = common_pb2.ServiceState.DESCRIPTOR.values_by_number.get(number)
    name = value.name.removeprefix("SERVICE_STATE_") if value else ""
    return ServiceState[name] if name in ServiceState.__members__ else ServiceState.UNKNOWN
