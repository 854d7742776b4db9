"""The ledger's tables, and the rows of `records` as their columns."""

import json
from collections.abc import Sequence
from typing import Any

from areal_mesh.controller.records import EvaluationRow, GroupRow, GroupState, PublishRow, StageEntry, StepRow

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lives (id INTEGER PRIMARY KEY, started_at REAL NOT NULL, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS stages (stage INTEGER PRIMARY KEY, first_step INTEGER NOT NULL, entered_at REAL NOT NULL,
    reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS groups (group_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL UNIQUE,
    prompt_id TEXT NOT NULL, stage INTEGER NOT NULL, state TEXT NOT NULL, holder TEXT NOT NULL,
    attempt INTEGER NOT NULL, leased_at REAL NOT NULL, stored_at REAL, lease_version INTEGER NOT NULL,
    oldest_version INTEGER, tokens INTEGER NOT NULL, step INTEGER, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS groups_by_state ON groups (state);
CREATE TABLE IF NOT EXISTS steps (step INTEGER PRIMARY KEY, stage INTEGER NOT NULL, metrics TEXT NOT NULL,
    staleness TEXT NOT NULL, committed_at REAL NOT NULL, tokens INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS publishes (id INTEGER PRIMARY KEY, policy_version INTEGER NOT NULL,
    finished_at REAL NOT NULL, pause REAL NOT NULL, transfer REAL NOT NULL, resume REAL NOT NULL,
    bytes INTEGER NOT NULL, members TEXT NOT NULL, checksums TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS publishes_by_version ON publishes (policy_version);
CREATE TABLE IF NOT EXISTS evaluations (policy_version INTEGER NOT NULL, suite TEXT NOT NULL,
    finished_at REAL NOT NULL, figures TEXT NOT NULL, PRIMARY KEY (policy_version, suite)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (holder TEXT PRIMARY KEY, service_id TEXT NOT NULL, role TEXT NOT NULL,
    address TEXT NOT NULL, registered_at REAL NOT NULL) WITHOUT ROWID;
"""
FORMAT = 1
"""What `PRAGMA user_version` says of a ledger that is written so; 0: of an earlier version, see `ledger._migrate`."""
GROUP_TOTALS = "group_totals"
STEP_TOTALS = "step_totals"
"""Facts: the totals of the groups that ended, and of the steps."""
OPEN_STATES = ", ".join(f"'{state.value}'" for state in GroupState if state.is_open)
GROUP_COLUMNS = (
    "group_id, sequence, prompt_id, stage, state, holder, attempt, leased_at, stored_at, lease_version, "
    "oldest_version, tokens, step, reason"
)
PUT_GROUP = f"INSERT OR REPLACE INTO groups ({GROUP_COLUMNS}) VALUES ({', '.join('?' * 14)})"
PUBLISH_COLUMNS = "policy_version, finished_at, pause, transfer, resume, bytes, members, checksums"
PUT_PUBLISH = f"INSERT INTO publishes ({PUBLISH_COLUMNS}) VALUES ({', '.join('?' * 8)})"


def group_values(row: GroupRow) -> tuple[Any, ...]:
    """A group by `GROUP_COLUMNS`."""
    return (
        row.group_id,
        row.sequence,
        row.prompt_id,
        row.stage,
        row.state.value,
        row.holder,
        row.attempt,
        row.leased_at,
        row.stored_at,
        row.lease_version,
        row.oldest_version,
        row.tokens,
        row.step,
        row.reason,
    )


def group_row(row: Sequence[Any]) -> GroupRow:
    """The inverse of `group_values`."""
    values = list(row)
    values[4] = GroupState(row[4])
    return GroupRow(*values)


def publish_values(publish: PublishRow) -> tuple[Any, ...]:
    """A publish by `PUBLISH_COLUMNS`."""
    return (
        publish.policy_version,
        publish.finished_at,
        publish.pause,
        publish.transfer,
        publish.resume,
        publish.bytes,
        json.dumps(publish.members),
        publish.checksums,
    )


def publish_row(row: Sequence[Any]) -> PublishRow:
    """The inverse of `publish_values`."""
    values = list(row)
    values[6] = tuple(json.loads(row[6]))
    return PublishRow(*values)


def evaluation_values(row: EvaluationRow) -> tuple[Any, ...]:
    """An evaluation by the columns of its table."""
    return (row.policy_version, row.suite, row.finished_at, json.dumps(dict(row.figures)))


def evaluation_row(row: Sequence[Any]) -> EvaluationRow:
    """The inverse of `evaluation_values`."""
    return EvaluationRow(row[0], row[1], row[2], json.loads(row[3]))


def stage_values(entry: StageEntry) -> tuple[Any, ...]:
    """A stage that was entered, by the columns of its table."""
    return (entry.stage, entry.first_step, entry.entered_at, entry.reason)


def step_values(step: StepRow) -> tuple[Any, ...]:
    """A step by the columns of its table."""
    staleness = {str(age): groups for age, groups in step.staleness.items()}
    metrics = json.dumps(dict(step.metrics))
    return (step.step, step.stage, metrics, json.dumps(staleness), step.committed_at, step.tokens)


def step_row(row: Sequence[Any]) -> StepRow:
    """The inverse of `step_values`."""
    staleness = {int(age): groups for age, groups in json.loads(row[3]).items()}
    return StepRow(row[0], row[1], json.loads(row[2]), staleness, row[4], row[5])
