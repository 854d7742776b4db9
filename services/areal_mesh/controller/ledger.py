"""The ledger: SQLite in WAL mode, the truth about a run. One writer, the controller; each method one transaction.

Durability: a commit survives kill -9 of the controller at any moment. `synchronous` is NORMAL, so a loss of power may
take the last commits with it; the file stays sound, and the replay buffer and the learner know what was lost.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from areal_mesh.controller.records import GroupCounts, GroupRow, GroupState, PublishRow, StageEntry, StepRow

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lives (id INTEGER PRIMARY KEY, started_at REAL NOT NULL, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS stages (stage INTEGER PRIMARY KEY, first_step INTEGER NOT NULL, entered_at REAL NOT NULL,
    reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS groups (group_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL UNIQUE,
    prompt_id TEXT NOT NULL, stage INTEGER NOT NULL, state TEXT NOT NULL, holder TEXT NOT NULL,
    attempt INTEGER NOT NULL, leased_at REAL NOT NULL, stored_at REAL, lease_version INTEGER NOT NULL,
    oldest_version INTEGER, tokens INTEGER NOT NULL, reward REAL, step INTEGER, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS groups_by_state ON groups (state);
CREATE TABLE IF NOT EXISTS steps (step INTEGER PRIMARY KEY, stage INTEGER NOT NULL, metrics TEXT NOT NULL,
    staleness TEXT NOT NULL, committed_at REAL NOT NULL, tokens INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS publishes (id INTEGER PRIMARY KEY, policy_version INTEGER NOT NULL,
    finished_at REAL NOT NULL, pause REAL NOT NULL, transfer REAL NOT NULL, resume REAL NOT NULL,
    bytes INTEGER NOT NULL, members TEXT NOT NULL, checksums TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS members (holder TEXT PRIMARY KEY, service_id TEXT NOT NULL, role TEXT NOT NULL,
    address TEXT NOT NULL, registered_at REAL NOT NULL) WITHOUT ROWID;
"""
_GROUP_COLUMNS = (
    "group_id, sequence, prompt_id, stage, state, holder, attempt, leased_at, stored_at, lease_version, "
    "oldest_version, tokens, reward, step, reason"
)
_PUT_GROUP = f"INSERT OR REPLACE INTO groups ({_GROUP_COLUMNS}) VALUES ({', '.join('?' * 15)})"
_WAL_PAGES = 4000


class LedgerError(Exception):
    """The ledger's file cannot be used: says which, and why."""


class Ledger:
    """The ledger of one run.

    Raises:
        LedgerError: the file cannot be opened or is no ledger.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{path}: cannot be used as the run's ledger: {error}") from error

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _transaction(self) -> AbstractContextManager[None]:
        return _transaction(self._database)

    # --- the run -------------------------------------------------------------------------------------------------

    def read(self, key: str) -> str | None:
        """A fact of the run, None if it was never written."""
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def write(self, key: str, value: str) -> None:
        """Writes a fact of the run over what it was."""
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def erase(self, key: str) -> None:
        """Takes a fact of the run away."""
        self._database.execute("DELETE FROM meta WHERE key = ?", (key,))

    def begin_life(self, now: float) -> int:
        """Notes that a controller starts; returns the number of its life."""
        return int(
            self._database.execute("INSERT INTO lives (started_at, seen_at) VALUES (?, ?)", (now, now)).lastrowid or 0
        )

    def continue_life(self, life: int, now: float) -> None:
        """Notes that the controller still lives."""
        self._database.execute("UPDATE lives SET seen_at = ? WHERE id = ?", (now, life))

    def lives(self) -> list[tuple[float, float]]:
        """Start and last sign of each life of the controller, unix seconds."""
        return [(row[0], row[1]) for row in self._database.execute("SELECT started_at, seen_at FROM lives ORDER BY id")]

    def member_started(self, holder: str, service_id: str, role: str, address: str, now: float) -> bool:
        """Notes a life of a member; returns whether it was unknown."""
        cursor = self._database.execute(
            "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?, ?)", (holder, service_id, role, address, now)
        )
        return cursor.rowcount == 1

    def member_starts(self) -> dict[str, int]:
        """Lives of each service so far."""
        return dict(self._database.execute("SELECT service_id, count(*) FROM members GROUP BY service_id"))

    def services(self, role: str) -> frozenset[str]:
        """Services of a role that have ever been members."""
        rows = self._database.execute("SELECT DISTINCT service_id FROM members WHERE role = ?", (role,))
        return frozenset(row[0] for row in rows)

    # --- groups --------------------------------------------------------------------------------------------------

    def put_groups(self, rows: Iterable[GroupRow]) -> None:
        """Writes groups as they are now, all or none."""
        with self._transaction():
            self._put_groups(rows)

    def _put_groups(self, rows: Iterable[GroupRow]) -> None:
        self._database.executemany(_PUT_GROUP, [_group_values(row) for row in rows])

    def group(self, group_id: str) -> GroupRow | None:
        """One group; None if it was never leased."""
        rows = self._groups("WHERE group_id = ?", (group_id,))
        return rows[0] if rows else None

    def open_groups(self) -> list[GroupRow]:
        """Groups whose end is still before them, by sequence."""
        return self._groups("WHERE state IN ('leased', 'stored') ORDER BY sequence")

    def generation_intervals(self) -> list[tuple[float, float]]:
        """From the last lease to the storing of each group ever stored, unix seconds, by start."""
        rows = self._database.execute(
            "SELECT leased_at, stored_at FROM groups WHERE stored_at IS NOT NULL ORDER BY leased_at"
        )
        return [(row[0], row[1]) for row in rows]

    def _groups(self, where: str, arguments: Sequence[Any] = ()) -> list[GroupRow]:
        rows = self._database.execute(f"SELECT {_GROUP_COLUMNS} FROM groups {where}", arguments)
        return [_group_row(row) for row in rows]

    def group_counts(self) -> GroupCounts:
        """Groups by state."""
        counts = dict(self._database.execute("SELECT state, count(*) FROM groups GROUP BY state"))
        return GroupCounts(counts.pop("leased", 0), **counts)

    def next_sequence(self) -> int:
        """Sequence number of the next group that was never leased before."""
        return int(self._database.execute("SELECT coalesce(max(sequence), -1) + 1 FROM groups").fetchone()[0])

    def generated_tokens(self) -> int:
        """Response tokens of all groups ever stored."""
        return int(self._database.execute("SELECT coalesce(sum(tokens), 0) FROM groups").fetchone()[0])

    # --- stages, steps, publishes --------------------------------------------------------------------------------

    def enter_stage(self, entry: StageEntry) -> None:
        """Notes a stage that is entered."""
        self._database.execute("INSERT INTO stages VALUES (?, ?, ?, ?)", _stage_values(entry))

    def stages(self) -> list[StageEntry]:
        """Stages entered so far, in their order."""
        return [StageEntry(*row) for row in self._database.execute("SELECT * FROM stages ORDER BY stage")]

    def commit_step(
        self, step: StepRow, groups: Iterable[GroupRow], entry: StageEntry | None = None, finished: bool = False
    ) -> None:
        """Writes a step, the ends of its groups, and the stage or the end of the run that follows: all or none."""
        values = (
            step.step,
            step.stage,
            json.dumps(dict(step.metrics)),
            json.dumps({str(key): count for key, count in step.staleness.items()}),
            step.committed_at,
            step.tokens,
        )
        with self._transaction():
            self._database.execute("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?)", values)
            self._put_groups(groups)
            if entry is not None:
                self._database.execute("INSERT INTO stages VALUES (?, ?, ?, ?)", _stage_values(entry))
            if finished:
                self._database.execute("INSERT OR REPLACE INTO meta VALUES ('finished', ?)", (str(step.step),))

    def steps(self) -> list[StepRow]:
        """Every committed step, in order."""
        rows = self._database.execute("SELECT * FROM steps ORDER BY step")
        return [
            StepRow(
                row[0], row[1], json.loads(row[2]), {int(k): v for k, v in json.loads(row[3]).items()}, row[4], row[5]
            )
            for row in rows
        ]

    def add_publish(self, publish: PublishRow) -> None:
        """Writes a publish that reached generators."""
        self._database.execute(
            "INSERT INTO publishes (policy_version, finished_at, pause, transfer, resume, bytes, members, checksums) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                publish.policy_version,
                publish.finished_at,
                publish.pause,
                publish.transfer,
                publish.resume,
                publish.bytes,
                json.dumps(publish.members),
                publish.checksums,
            ),
        )

    def publishes(self) -> list[PublishRow]:
        """Every publish, in order."""
        rows = self._database.execute(
            "SELECT policy_version, finished_at, pause, transfer, resume, bytes, members, checksums FROM publishes "
            "ORDER BY id"
        )
        return [_publish_row(row) for row in rows]

    def published_version(self) -> int:
        """Newest version that generators were given; -1 before the first."""
        return int(self._database.execute("SELECT coalesce(max(policy_version), -1) FROM publishes").fetchone()[0])


def _group_values(row: GroupRow) -> tuple[Any, ...]:
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
        row.reward,
        row.step,
        row.reason,
    )


def _group_row(row: Sequence[Any]) -> GroupRow:
    values = list(row)
    values[4] = GroupState(row[4])
    return GroupRow(*values)


def _publish_row(row: Sequence[Any]) -> PublishRow:
    values = list(row)
    values[6] = tuple(json.loads(row[6]))
    return PublishRow(*values)


def _stage_values(entry: StageEntry) -> tuple[Any, ...]:
    return (entry.stage, entry.first_step, entry.entered_at, entry.reason)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
