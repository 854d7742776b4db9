"""The run as Prometheus sees it: a row a figure of the status. Pure: a status in, samples out.

Counters are the run's, kept in the ledger: they go on where the controller is started again.
"""

from collections.abc import Iterator, Mapping

from areal_mesh.runtime.durations import from_duration
from areal_mesh.runtime.identity import role_name
from areal_mesh.runtime.metrics.metric import Described, Sample, counter, gauge, one_of
from areal_mesh.runtime.roles import SERVICE_ROLES
from areal_mesh.v1 import common_pb2, status_pb2

RUN_STATE = gauge("areal_mesh_run_state", "1 for the state that the run is in", "state")
STAGE = gauge("areal_mesh_run_stage", "Position of the context stage, from 0")
RESPONSE_LIMIT = gauge("areal_mesh_run_response_limit_tokens", "Longest response of the stage")
STEPS = counter("areal_mesh_run_steps", "Committed steps")
PLANNED_STEPS = gauge("areal_mesh_run_planned_steps", "Steps of the schedule at most; 0: its rules leave them open")
PUBLISHED_VERSION = gauge("areal_mesh_run_published_version", "Policy version that generators are to hold")
LAST_STEP = gauge("areal_mesh_run_last_step_timestamp_seconds", "When the last step was committed")
STARTED = gauge("areal_mesh_run_start_timestamp_seconds", "When the run began")
STEP_INTERVAL = gauge("areal_mesh_run_step_interval_seconds", "Median time between the last steps; 0 before two")
LEASED = counter("areal_mesh_run_leased_groups", "Groups leased")
GROUPS = counter("areal_mesh_run_groups", "Groups that ended, by end", "end")
OPEN_GROUPS = gauge("areal_mesh_run_open_groups", "Groups that run, or are stored and not trained yet")
STALENESS = counter("areal_mesh_run_trained_groups_by_staleness", "Groups trained on, by versions of age", "staleness")
GENERATED = counter("areal_mesh_run_generated_tokens", "Response tokens generated")
TRAINED = counter("areal_mesh_run_trained_tokens", "Response tokens trained on")
WEIGHT_UPDATES = counter("areal_mesh_run_weight_updates", "Policy versions published")
WITHOUT_UPDATE = counter("areal_mesh_run_steps_without_update", "Steps that moved no weight")
PAUSE = gauge("areal_mesh_run_pause_seconds", "How long generation was frozen by the last publish")
FAULTS = gauge("areal_mesh_run_faults", "Faults that a person has to see to", "holds_admission")
MEMBERS = gauge("areal_mesh_run_members", "Members by role and state, as the controller sees them", "role", "state")
HEARTBEAT_AGE = gauge("areal_mesh_run_heartbeat_age_seconds", "Since a member was last heard", "service", "role")
MEMBER_STARTS = counter("areal_mesh_run_member_starts", "Lives of a member", "service", "role")
STEP_FIGURE = gauge("areal_mesh_run_step_figure", "A figure of the last step, by its name in metrics.jsonl", "figure")
RUN_METRICS = (
    RUN_STATE,
    STAGE,
    RESPONSE_LIMIT,
    STEPS,
    PLANNED_STEPS,
    PUBLISHED_VERSION,
    LAST_STEP,
    STARTED,
    STEP_INTERVAL,
    LEASED,
    GROUPS,
    OPEN_GROUPS,
    STALENESS,
    GENERATED,
    TRAINED,
    WEIGHT_UPDATES,
    WITHOUT_UPDATE,
    PAUSE,
    FAULTS,
    MEMBERS,
    HEARTBEAT_AGE,
    MEMBER_STARTS,
    STEP_FIGURE,
)
_MEMBER_ROLES = tuple(role for role in SERVICE_ROLES if role != "controller")
_STATES = {
    status_pb2.RUN_STATE_STARTING: "starting",
    status_pb2.RUN_STATE_RUNNING: "running",
    status_pb2.RUN_STATE_PAUSED: "paused",
    status_pb2.RUN_STATE_STOPPING: "stopping",
    status_pb2.RUN_STATE_FINISHED: "finished",
}
_MEMBER_STATES = {
    common_pb2.SERVICE_STATE_STARTING: "starting",
    common_pb2.SERVICE_STATE_PENDING_WEIGHTS: "pending_weights",
    common_pb2.SERVICE_STATE_SERVING: "serving",
    common_pb2.SERVICE_STATE_DRAINING: "draining",
    common_pb2.SERVICE_STATE_STOPPED: "stopped",
    common_pb2.SERVICE_STATE_LOST: "lost",
}


def run_samples(status: status_pb2.RunStatus, step_interval: float) -> Iterator[Sample]:
    """The samples of a status.

    Args:
        step_interval: median seconds between the last steps, 0 before there are two.
    """
    yield from one_of(RUN_STATE, {name: status.state == state for state, name in _STATES.items()})
    for metric, value in _plain(status, step_interval).items():
        yield Sample(metric, float(value))
    groups = status.groups
    ends = {"trained": groups.trained, "stale": groups.stale, "filtered": groups.filtered, "failed": groups.failed}
    yield from (Sample(GROUPS, count, (end,)) for end, count in ends.items())
    yield from (Sample(STALENESS, count, (str(age),)) for age, count in sorted(status.staleness.items()))
    holding = sum(fault.holds_admission for fault in status.faults)
    yield Sample(FAULTS, holding, ("true",))
    yield Sample(FAULTS, len(status.faults) - holding, ("false",))
    yield from (Sample(STEP_FIGURE, value, (name,)) for name, value in sorted(status.step_metrics.items()))
    yield from _members(status)


def _plain(status: status_pb2.RunStatus, step_interval: float) -> Mapping[Described, float]:
    """What has no labels. A time that has not come yet is left out."""
    values: dict[Described, float] = {
        STAGE: status.stage.index,
        RESPONSE_LIMIT: status.stage.max_response_tokens,
        STEPS: status.step,
        PLANNED_STEPS: status.planned_steps,
        PUBLISHED_VERSION: status.published_version,
        STEP_INTERVAL: step_interval,
        LEASED: status.groups.leased,
        OPEN_GROUPS: status.groups.open,
        GENERATED: status.tokens_generated,
        TRAINED: status.tokens_trained,
        WEIGHT_UPDATES: status.weight_updates,
        WITHOUT_UPDATE: status.steps_without_update,
        PAUSE: from_duration(status.last_pause),
        STARTED: status.started.ToNanoseconds() / 1e9,
    }
    if status.HasField("last_step"):
        values[LAST_STEP] = status.last_step.ToNanoseconds() / 1e9
    return values


def _members(status: status_pb2.RunStatus) -> Iterator[Sample]:
    # A role without a member shows as 0 and not as nothing.
    counts = {(role, state): 0 for role in _MEMBER_ROLES for state in _MEMBER_STATES.values()}
    for member in status.services:
        role = role_name(member.role)
        state = _MEMBER_STATES.get(member.state, "starting")
        counts[role, state] = counts.get((role, state), 0) + 1
        yield Sample(HEARTBEAT_AGE, from_duration(member.since_heartbeat), (member.service_id, role))
        yield Sample(MEMBER_STARTS, member.starts, (member.service_id, role))
    yield from (Sample(MEMBERS, count, labels) for labels, count in counts.items())
