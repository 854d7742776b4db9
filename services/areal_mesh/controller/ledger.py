"""The ledger: SQLite in WAL mode, the truth about a run. One writer, the controller; each method one transaction.

Durability: a commit survives kill -9 of the controller at any moment. `synchronous` is NORMAL, so a loss of power may
take the last commits with it; the file stays sound, and the replay buffer and the learner know what was lost.
"""

import json
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from areal_mesh.controller.ledger_rows import (
    GROUP_COLUMNS,
    PUBLISH_COLUMNS,
    PUT_GROUP,
    SCHEMA,
    group_row,
    group_values,
    publish_row,
    stage_values,
    step_row,
    step_values,
)
from areal_mesh.controller.reasons import WITHOUT_TRAINING, count_reason
from areal_mesh.controller.records import GroupCounts, GroupRow, GroupState, PublishRow, StageEntry, StepRow
from areal_mesh.controller.room import LedgerFull, LedgerRoom
from areal_mesh.controller.totals import ENDS, GroupTotals, StepTotals

_WAL_PAGES = 4000


class LedgerError(Exception):
    """The ledger's file cannot be used: says which, and why."""


class Ledger:
    """The ledger of one run.

    Raises:
        LedgerError: the file cannot be opened or is no ledger.

    Whatever writes raises LedgerFull where the disk is full, with nothing written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.room = LedgerRoom(path.parent)
            self._database = self.room.write(lambda: _open(path))
            self.room.check()
        except (OSError, sqlite3.Error, LedgerFull) as error:
            raise LedgerError(f"{path}: cannot be used as the run's ledger: {error}") from error

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _change(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Runs a statement that writes: a transaction by itself, unless it is in one."""
        if self._database.in_transaction:
            return self._database.execute(statement, values)
        return self.room.write(lambda: self._database.execute(statement, values))

    def _all_or_none(self, changes: Callable[[], None]) -> None:
        """Makes changes in one transaction; may call `changes` twice."""

        def transaction() -> None:
            with _transaction(self._database):
                changes()

        self.room.write(transaction)

    # --- the run -------------------------------------------------------------------------------------------------

    def read(self, key: str) -> str | None:
        """A fact of the run, None if it was never written."""
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def write(self, key: str, value: str) -> None:
        """Writes a fact of the run over what it was."""
        self._change("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def erase(self, key: str) -> None:
        """Takes a fact of the run away."""
        self._change("DELETE FROM meta WHERE key = ?", (key,))

    def begin_life(self, now: float) -> int:
        """Notes that a controller starts; returns the number of its life."""
        return int(self._change("INSERT INTO lives (started_at, seen_at) VALUES (?, ?)", (now, now)).lastrowid or 0)

    def continue_life(self, life: int, now: float) -> None:
        """Notes that the controller still lives."""
        self._change("UPDATE lives SET seen_at = ? WHERE id = ?", (now, life))

    def begun_at(self) -> float:
        """Start of the controller's first life, unix seconds."""
        return float(self._database.execute("SELECT started_at FROM lives ORDER BY id LIMIT 1").fetchone()[0])

    def lives(self) -> list[tuple[float, float]]:
        """Start and last sign of each life of the controller, unix seconds."""
        return [(row[0], row[1]) for row in self._database.execute("SELECT started_at, seen_at FROM lives ORDER BY id")]

    def member_started(self, holder: str, service_id: str, role: str, address: str, now: float) -> bool:
        """Notes a life of a member; returns whether it was unknown."""
        cursor = self._change(
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

    def put_groups(self, rows: Iterable[GroupRow], totals: GroupTotals | None = None) -> None:
        """Writes groups as they are now, and the totals where they change with them: all or none."""
        written = list(rows)
        self._all_or_none(lambda: self._put_groups(written, totals))

    def _put_groups(self, rows: Iterable[GroupRow], totals: GroupTotals | None) -> None:
        self._database.executemany(PUT_GROUP, [group_values(row) for row in rows])
        if totals is not None:
            self.write("group_totals", totals.to_json())

    def group(self, group_id: str) -> GroupRow | None:
        """One group; None if it was never leased."""
        rows = self._groups("WHERE group_id = ?", (group_id,))
        return rows[0] if rows else None

    def open_groups(self) -> list[GroupRow]:
        """Groups whose end is still before them, by sequence."""
        return self._groups("WHERE state IN ('leased', 'stored') ORDER BY sequence")

    def generation_intervals(self) -> Iterator[tuple[float, float]]:
        """From the last lease to the storing of each group ever stored, unix seconds, by start."""
        rows = self._database.execute(
            "SELECT leased_at, stored_at FROM groups WHERE stored_at IS NOT NULL ORDER BY leased_at"
        )
        return ((row[0], row[1]) for row in rows)

    def _groups(self, where: str, arguments: Sequence[Any] = ()) -> list[GroupRow]:
        rows = self._database.execute(f"SELECT {GROUP_COLUMNS} FROM groups {where}", arguments)
        return [group_row(row) for row in rows]

    def group_counts(self) -> GroupCounts:
        """Groups by state, counted."""
        counts = dict(self._database.execute("SELECT state, count(*) FROM groups GROUP BY state"))
        return GroupCounts(counts.pop("leased", 0), **counts)

    def group_totals(self, open_groups: int) -> GroupTotals:
        """Totals of the groups that ended; added up, and written, where they were not written with all of them.

        Args:
            open_groups: those that did not.
        """
        written = self.read("group_totals")
        if written is not None:
            totals = GroupTotals.from_json(written)
            if totals.groups + open_groups == self.next_sequence():
                return totals
        ended: dict[GroupState, int] = {}
        reasons: dict[str, int] = {}
        tokens = 0
        for name, reason, count, sum_of_tokens in self._database.execute(
            "SELECT state, reason, count(*), total(tokens) FROM groups GROUP BY state, reason"
        ):
            state = GroupState(name)
            if state in ENDS:
                ended[state] = ended.get(state, 0) + count
                tokens += int(sum_of_tokens)
            if state in WITHOUT_TRAINING:
                count_reason(reasons, state, reason, count)
        added = GroupTotals(ended, tokens, reasons)
        self.write("group_totals", added.to_json())
        return added

    def next_sequence(self) -> int:
        """Sequence number of the next group that was never leased before."""
        return int(self._database.execute("SELECT coalesce(max(sequence), -1) + 1 FROM groups").fetchone()[0])

    # --- stages, steps, publishes --------------------------------------------------------------------------------

    def enter_stage(self, entry: StageEntry) -> None:
        """Notes a stage that is entered."""
        self._change("INSERT INTO stages VALUES (?, ?, ?, ?)", stage_values(entry))

    def stages(self) -> list[StageEntry]:
        """Stages entered so far, in their order."""
        return [StageEntry(*row) for row in self._database.execute("SELECT * FROM stages ORDER BY stage")]

    def commit_step(
        self,
        step: StepRow,
        groups: Iterable[GroupRow],
        entry: StageEntry | None = None,
        finished: bool = False,
        totals: tuple[StepTotals, GroupTotals] | None = None,
    ) -> None:
        """Writes a step, the ends of its groups, the totals, and the stage or the end of the run that follows.

        All or none.
        """
        ended = list(groups)

        def changes() -> None:
            self._change("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?)", step_values(step))
            self._put_groups(ended, None if totals is None else totals[1])
            if totals is not None:
                self.write("step_totals", totals[0].to_json())
            if entry is not None:
                self._change("INSERT INTO stages VALUES (?, ?, ?, ?)", stage_values(entry))
            if finished:
                self.write("finished", str(step.step))

        self._all_or_none(changes)

    def steps(self, after: int = 0, upto: int | None = None) -> Iterator[StepRow]:
        """Committed steps in order: those after one, up to another where it is named."""
        last = sys.maxsize if upto is None else upto
        rows = self._database.execute("SELECT * FROM steps WHERE step > ? AND step <= ? ORDER BY step", (after, last))
        return (step_row(row) for row in rows)

    def step_totals(self) -> StepTotals:
        """Totals of all steps; added up, and written, where they were not written with the last one."""
        last = int(self._database.execute("SELECT coalesce(max(step), 0) FROM steps").fetchone()[0])
        written = self.read("step_totals")
        if written is not None:
            totals = StepTotals.from_json(written)
            if totals.step == last:
                return totals
        added = StepTotals()
        for row in self.steps():
            added = added.after(row)
        self.write("step_totals", added.to_json())
        return added

    def add_publish(self, publish: PublishRow) -> None:
        """Writes a publish that reached generators."""
        self._change(
            f"INSERT INTO publishes ({PUBLISH_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
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

    def publishes(self) -> Iterator[PublishRow]:
        """Every publish, in order."""
        rows = self._database.execute(f"SELECT {PUBLISH_COLUMNS} FROM publishes ORDER BY id")
        return (publish_row(row) for row in rows)

    def publishes_of(self, version: int) -> list[PublishRow]:
        """Publishes of one version, in order."""
        query = f"SELECT {PUBLISH_COLUMNS} FROM publishes WHERE policy_version = ? ORDER BY id"
        return [publish_row(row) for row in self._database.execute(query, (version,))]

    def last_publish(self) -> tuple[int, PublishRow | None]:
        """How many publishes there are, and the last of them."""
        query = f"SELECT {PUBLISH_COLUMNS}, id FROM publishes ORDER BY id DESC LIMIT 1"
        row = self._database.execute(query).fetchone()
        return (0, None) if row is None else (int(row[8]), publish_row(row[:8]))

    def published_version(self) -> int:
        """Newest version that generators were given; -1 before the first."""
        return int(self._database.execute("SELECT coalesce(max(policy_version), -1) FROM publishes").fetchone()[0])


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    database.executescript(SCHEMA)
    return database


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled it back already.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
