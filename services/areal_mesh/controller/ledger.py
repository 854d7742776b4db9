"""The ledger: SQLite in WAL mode, the truth about a run. Only `Run` writes it; each method is one transaction.

Durability: a commit survives kill -9 of the controller at any moment. `synchronous` is NORMAL, so a loss of power may
take the last commits with it; the file stays sound, and the replay buffer and the learner know what was lost.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from areal_mesh.controller.condition import FINISHED
from areal_mesh.controller.ledger_reader import LedgerReader
from areal_mesh.controller.ledger_rows import (
    FORMAT,
    GROUP_TOTALS,
    PUT_GROUP,
    PUT_PUBLISH,
    SCHEMA,
    STEP_TOTALS,
    evaluation_values,
    group_values,
    publish_values,
    stage_values,
    step_values,
)
from areal_mesh.controller.records import EvaluationRow, GroupRow, PublishRow, StageEntry, StepRow
from areal_mesh.controller.room import LedgerFull, LedgerRoom
from areal_mesh.controller.totals import GroupTotals, StepTotals

_WAL_PAGES = 4000


class LedgerError(Exception):
    """The ledger's file cannot be used: says which, and why."""


class Ledger(LedgerReader):
    """The ledger of one run, to read and to write.

    Raises:
        LedgerError: the file cannot be opened or is no ledger.

    Whatever writes raises LedgerFull where the disk is full, with nothing written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.room = LedgerRoom(path.parent)
            super().__init__(self.room.write(lambda: _open(path)))
            self.room.check()
        except (OSError, sqlite3.Error, LedgerFull) as error:
            raise LedgerError(f"{path}: cannot be used as the run's ledger: {error}") from error

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

    def write_fact(self, key: str, value: str | None) -> None:
        """Writes a fact of the run over what it was; None takes it away."""
        if value is None:
            self.erase_fact(key)
        else:
            self._change("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def erase_fact(self, key: str) -> None:
        """Takes a fact of the run away."""
        self._change("DELETE FROM meta WHERE key = ?", (key,))

    def begin_life(self, now: float) -> int:
        """Notes that a controller starts; returns the number of its life."""
        return int(self._change("INSERT INTO lives (started_at, seen_at) VALUES (?, ?)", (now, now)).lastrowid or 0)

    def continue_life(self, life: int, now: float) -> None:
        """Notes that the controller still lives."""
        self._change("UPDATE lives SET seen_at = ? WHERE id = ?", (now, life))

    def add_member(self, holder: str, service_id: str, role: str, address: str, now: float) -> bool:
        """Notes a life of a member; returns whether it was unknown."""
        cursor = self._change(
            "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?, ?)", (holder, service_id, role, address, now)
        )
        return cursor.rowcount == 1

    def put_groups(self, rows: Iterable[GroupRow], totals: GroupTotals | None = None) -> None:
        """Writes groups as they are now, and the totals where they change with them: all or none."""
        written = list(rows)
        self._all_or_none(lambda: self._put_groups(written, totals))

    def _put_groups(self, rows: Iterable[GroupRow], totals: GroupTotals | None) -> None:
        self._database.executemany(PUT_GROUP, [group_values(row) for row in rows])
        if totals is not None:
            self.write_fact(GROUP_TOTALS, totals.to_json())

    def enter_stage(self, entry: StageEntry) -> None:
        """Notes a stage that is entered."""
        self._change("INSERT INTO stages VALUES (?, ?, ?, ?)", stage_values(entry))

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
                self.write_fact(STEP_TOTALS, totals[0].to_json())
            if entry is not None:
                self.enter_stage(entry)
            if finished:
                self.write_fact(FINISHED, str(step.step))

        self._all_or_none(changes)

    def add_publish(self, publish: PublishRow) -> None:
        """Writes a publish that reached generators."""
        self._change(PUT_PUBLISH, publish_values(publish))

    def add_evaluations(self, rows: Iterable[EvaluationRow]) -> None:
        """Writes the figures of a version, all suites or none."""
        written = [evaluation_values(row) for row in rows]

        def changes() -> None:
            self._database.executemany("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?)", written)

        self._all_or_none(changes)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    database.executescript(SCHEMA)
    _migrate(database)
    return database


def _migrate(database: sqlite3.Connection) -> None:
    """Brings a ledger of an earlier version to this one: the state of a running group was called leased."""
    [(written,)] = database.execute("PRAGMA user_version")
    if written >= FORMAT:
        return
    with _transaction(database):
        database.execute("UPDATE groups SET state = 'running' WHERE state = 'leased'")
        database.execute(f"PRAGMA user_version = {FORMAT}")


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
