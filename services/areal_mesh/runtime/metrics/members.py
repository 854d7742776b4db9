"""What each service's report becomes: one row a figure. Pure: values in.

Rates are left out: Prometheus makes them of the counters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from areal_mesh.runtime.metrics.metric import Described, Sample, counter, gauge, one_of
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.v1 import common_pb2

STATE = gauge("areal_mesh_service_state", "1 for the state that the service is in", "state")
POLICY_VERSION = gauge("areal_mesh_policy_version", "Policy version that the service holds; -1 before the first")
PROGRESS_AGE = gauge("areal_mesh_progress_age_seconds", "Since the service last got something done")
FAULT = gauge("areal_mesh_service_fault", "1 while something holds the service up that a person has to see to")
OPEN_CALL = gauge(
    "areal_mesh_open_call_age_seconds", "Age of the oldest call that the service waits for an answer to", "method"
)
COMMON = (STATE, POLICY_VERSION, PROGRESS_AGE, FAULT, OPEN_CALL)
OPEN_CALL_PREFIX = "open_call_seconds/"
_STATES = {
    common_pb2.SERVICE_STATE_STARTING: "starting",
    common_pb2.SERVICE_STATE_PENDING_WEIGHTS: "pending_weights",
    common_pb2.SERVICE_STATE_SERVING: "serving",
    common_pb2.SERVICE_STATE_DRAINING: "draining",
}


@dataclass(frozen=True)
class Row:
    """A figure of the report and its metric. A name that ends in `*` stands for several: the rest is the label."""

    reported: str
    metric: Described


GENERATOR = (
    Row("groups_in_flight", gauge("areal_mesh_generator_groups_in_flight", "Leases that the generator holds")),
    Row("groups_*", counter("areal_mesh_generator_groups", "Groups that ended here, by end", "end")),
    Row("tokens_generated", counter("areal_mesh_generator_tokens", "Tokens sampled for the run")),
    Row("answer_tokens/*", counter("areal_mesh_generator_answer_tokens", "Tokens sampled beside the run", "tag")),
    Row("answers_running", gauge("areal_mesh_generator_answers_running", "Requests beside the run under way")),
    Row("generating_seconds", counter("areal_mesh_generator_generating_seconds", "Time in which requests ran")),
    Row("kv_cache_use", gauge("areal_mesh_generator_kv_cache_usage_ratio", "Share of the KV cache in use")),
    Row("responses_open", gauge("areal_mesh_generator_responses_open", "Responses that are not finished")),
    Row("responses_limit", gauge("areal_mesh_generator_responses_limit", "Responses that it may have open at once")),
    Row("requests_running", gauge("areal_mesh_generator_requests_running", "Requests that the engine computes")),
    Row("requests_waiting", gauge("areal_mesh_generator_requests_waiting", "Requests that wait in the engine")),
    Row("preemptions", counter("areal_mesh_generator_preemptions", "Requests put off for want of KV cache")),
    Row("weight_updates", counter("areal_mesh_generator_weight_updates", "Policy versions taken in")),
    Row("pause_seconds_total", counter("areal_mesh_generator_pause_seconds", "Generation frozen for an update")),
    Row("transfer_seconds_total", counter("areal_mesh_generator_transfer_seconds", "Weights under way to here")),
)
VERIFIER = (
    Row("answers_graded", counter("areal_mesh_verifier_answers", "Answers graded, errors among them")),
    Row("answers_error", counter("areal_mesh_verifier_answer_errors", "Answers whose verdict is an error")),
    Row("answers_waiting", gauge("areal_mesh_verifier_answers_waiting", "Answers that wait for their verdict")),
    Row("answers_sent_to_workers", counter("areal_mesh_verifier_worker_answers", "Answers that needed algebra")),
    Row("worker_deadlines", counter("areal_mesh_verifier_worker_deadlines", "Workers killed because one overran")),
    Row("worker_crashes", counter("areal_mesh_verifier_worker_crashes", "Workers that ended by themselves")),
    Row("cache_hits", counter("areal_mesh_verifier_cache_hits", "Verdicts known already")),
    Row("cache_misses", counter("areal_mesh_verifier_cache_misses", "Verdicts not known yet")),
)
REPLAY = (
    Row("waiting_groups", gauge("areal_mesh_replay_waiting_groups", "Groups that wait to be drawn")),
    Row("waiting_bytes", gauge("areal_mesh_replay_waiting_bytes", "Their size; generators wait at the bound")),
    Row("consumed_groups", gauge("areal_mesh_replay_consumed_groups", "Drawn groups that no checkpoint covers yet")),
    Row("bytes_on_disk", gauge("areal_mesh_replay_disk_bytes", "Size of the log")),
    Row("stored_groups", counter("areal_mesh_replay_stored_groups", "Groups stored")),
    Row("held_seconds", counter("areal_mesh_replay_held_seconds", "Draws held for groups that no later step takes")),
)
LEARNER = (
    Row("tokens_trained", counter("areal_mesh_learner_tokens", "Response tokens trained on")),
    Row(
        "checkpoint_copies_failed",
        counter("areal_mesh_learner_failed_checkpoint_copies", "Checkpoints of which a copy did not arrive"),
    ),
    Row("bytes_published", counter("areal_mesh_learner_published_bytes", "Weights sent to generators")),
)
BY_ROLE: Mapping[str, tuple[Row, ...]] = {
    "generator": GENERATOR,
    "verifier": VERIFIER,
    "replay": REPLAY,
    "learner": LEARNER,
    "controller": (),
}


def samples_of(role: str, report: HeartbeatReport) -> Iterator[Sample]:
    """The samples of a member's report; a figure without a row is left out."""
    yield from one_of(STATE, {name: report.state == state for state, name in _STATES.items()})
    yield Sample(POLICY_VERSION, report.policy_version)
    yield Sample(PROGRESS_AGE, report.seconds_since_progress)
    yield Sample(FAULT, float(bool(report.fault)))
    for name, value in report.metrics.items():
        if name.startswith(OPEN_CALL_PREFIX):
            yield Sample(OPEN_CALL, value, (name.removeprefix(OPEN_CALL_PREFIX),))
            continue
        row = row_of(role, name)
        if row is not None:
            yield Sample(row.metric, value, (name[len(row.reported) - 1 :],) if row.metric.labels else ())


def row_of(role: str, reported: str) -> Row | None:
    """The row of a reported figure: the first that fits, for exact names stand before patterns."""
    return next((row for row in BY_ROLE[role] if _fits(row.reported, reported)), None)


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
