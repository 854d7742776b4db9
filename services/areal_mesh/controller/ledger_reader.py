"""What the ledger says of the run. Nothing here writes: what is handed a `LedgerReader` cannot change the run."""

import sqlite3
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from areal_mesh.controller.ledger_rows import (
    GROUP_COLUMNS,
    GROUP_TOTALS,
    OPEN_STATES,
    PUBLISH_COLUMNS,
    STEP_TOTALS,
    evaluation_row,
    group_row,
    publish_row,
    step_row,
)
from areal_mesh.controller.records import (
    EvaluationRow,
    GroupCounts,
    GroupRow,
    GroupState,
    PublishRow,
    StageEntry,
    StepRow,
)
from areal_mesh.controller.totals import GroupTotals, Lengths, StepTotals


class LedgerReader:
    """Reads one run's ledger."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def read(self, key: str) -> str | None:
        """A fact of the run, None if it was never written."""
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def begun_at(self) -> float:
        """Start of the controller's first life, unix seconds."""
        return float(self._database.execute("SELECT started_at FROM lives ORDER BY id LIMIT 1").fetchone()[0])

    def lives(self) -> list[tuple[float, float]]:
        """Start and last sign of each life of the controller, unix seconds."""
        return [(row[0], row[1]) for row in self._database.execute("SELECT started_at, seen_at FROM lives ORDER BY id")]

    def member_starts(self) -> dict[str, int]:
        """Lives of each service so far."""
        return dict(self._database.execute("SELECT service_id, count(*) FROM members GROUP BY service_id"))

    def services(self, role: str) -> frozenset[str]:
        """Services of a role that have ever been members."""
        rows = self._database.execute("SELECT DISTINCT service_id FROM members WHERE role = ?", (role,))
        return frozenset(row[0] for row in rows)

    def group(self, group_id: str) -> GroupRow | None:
        """One group; None if it was never leased."""
        rows = self._groups("WHERE group_id = ?", (group_id,))
        return rows[0] if rows else None

    def open_groups(self) -> list[GroupRow]:
        """Groups whose end is still before them, by sequence."""
        return self._groups(f"WHERE state IN ({OPEN_STATES}) ORDER BY sequence")

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
        return GroupCounts(**dict(self._database.execute("SELECT state, count(*) FROM groups GROUP BY state")))

    def group_totals(self, open_groups: int) -> GroupTotals:
        """Totals of the groups that ended; added up where they were not written with all of them.

        Args:
            open_groups: those that did not.
        """
        written = self.read(GROUP_TOTALS)
        totals = None if written is None else GroupTotals.from_json(written)
        if totals is not None and totals.groups + open_groups == self.next_sequence():
            return totals
        return GroupTotals.added_up(
            (GroupState(state), reason, groups, Lengths(measured, int(tokens)))
            for state, reason, groups, measured, tokens in self._database.execute(
                "SELECT state, reason, count(*), sum(tokens > 0), total(tokens) FROM groups GROUP BY state, reason"
            )
        )

    def next_sequence(self) -> int:
        """Sequence number of the next group that was never leased before."""
        return int(self._database.execute("SELECT coalesce(max(sequence), -1) + 1 FROM groups").fetchone()[0])

    def stages(self) -> list[StageEntry]:
        """Stages entered so far, in their order."""
        return [StageEntry(*row) for row in self._database.execute("SELECT * FROM stages ORDER BY stage")]

    def steps(self, after: int = 0, upto: int | None = None) -> Iterator[StepRow]:
        """Committed steps in order: those after one, up to another where it is named."""
        last = sys.maxsize if upto is None else upto
        rows = self._database.execute("SELECT * FROM steps WHERE step > ? AND step <= ? ORDER BY step", (after, last))
        return (step_row(row) for row in rows)

    def step_totals(self) -> StepTotals:
        """Totals of all steps; added up where they were not written with the last one."""
        last = int(self._database.execute("SELECT coalesce(max(step), 0) FROM steps").fetchone()[0])
        written = self.read(STEP_TOTALS)
        if written is not None:
            totals = StepTotals.from_json(written)
            if totals.step == last:
                return totals
        added = StepTotals()
        for row in self.steps():
            added = added.after(row)
        return added

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

    def evaluations(self) -> list[EvaluationRow]:
        """Every evaluation, by version and suite."""
        rows = self._database.execute("SELECT * FROM evaluations ORDER BY policy_version, suite")
        return [evaluation_row(row) for row in rows]

    def published_version(self) -> int:
        """Newest version that generators were given; -1 before the first."""
        return int(self._database.execute("SELECT coalesce(max(policy_version), -1) FROM publishes").fetchone()[0])
