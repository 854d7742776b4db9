"""The rollouts of one run: an index of its log, brought up to date, filtered and searched.

Several processes may use it at once; each opens it for one piece of work and closes it, so that a run directory may be
deleted and made anew under them.
"""

import contextlib
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.replay.reading import CorruptLog, Location, Position, oldest_segment, read_group
from areal_mesh.rollouts.detail import detail_of
from areal_mesh.rollouts.schema import DROP, FORMAT, RESPONSES_OF_A_GROUP, SCHEMA
from areal_mesh.rollouts.search import ORDER, condition, runs_of
from areal_mesh.rollouts.texts import TextReader
from areal_mesh.rollouts.values import Found, Rollout, RolloutDetail, RolloutQuery, RolloutsUnreadable
from areal_mesh.rollouts.writing import take_entries

INDEX_FILE = "rollouts.db"
REPLAY_FOLDER = "replay"
_ENTRIES_AT_ONCE = 256
_BUSY_SECONDS = 20.0
_FEW = 4000
"""With more responses to read one by one, reading all in their order is faster."""
_COLUMNS = (
    "r.id, g.group_id, g.prompt_id, g.stage, g.source, g.step, g.stale, r.verdict, r.rule, r.reward, r.length, "
    "r.finish, r.oldest, r.newest, r.extracted, r.terms, g.problem, g.gold_answers"
)
_FROM = "FROM rollouts r JOIN groups g ON g.key = r.group_key"


class RolloutIndex:
    """The index of a run directory.

    Args:
        run: directory of the run.
        model: folder of its model, for the tokenizer.
    """

    def __init__(self, run: Path, model: Path) -> None:
        self._log = run / REPLAY_FOLDER
        self._texts = TextReader(run, model)
        self._aside: tempfile.TemporaryDirectory[str] | None = None
        self._file = run / INDEX_FILE
        if not _writable(run):
            self._aside = tempfile.TemporaryDirectory(prefix="areal-mesh-rollouts-")
            self._file = Path(self._aside.name) / INDEX_FILE

    @property
    def missing_tokenizer(self) -> str:
        """Why texts are token ids; empty where they are texts."""
        return self._texts.missing

    def prepare(self) -> None:
        """Makes the index where it is not there; empty, it answers.

        Raises:
            RolloutsUnreadable: it cannot be written.
        """
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            self._make(database)

    def update(self, seconds: float = float("inf")) -> bool:
        """Takes what is new in the log, for so long at most; returns whether that is all there is. Blocks.

        Raises:
            RolloutsUnreadable: the log is damaged, or the index cannot be written.
        """
        end = time.monotonic() + seconds
        while True:
            with self._opened() as database:
                database.execute("BEGIN IMMEDIATE")
                self._make(database)
                taken = take_entries(database, self._log, self._texts, _ENTRIES_AT_ONCE)
            if taken < _ENTRIES_AT_ONCE:
                return True
            if time.monotonic() > end:
                return False

    def find(self, query: RolloutQuery, most: int, after: int = 0) -> Found:
        """Rollouts of a query: `most`, the first `after` of them left out; and how many there are."""
        with self._opened() as database:
            where, values = condition(query, _few_have(database, query.text))
            order = f"ORDER BY {ORDER[query.order]}"
            total = 0
            rows = database.execute(
                f"SELECT {_COLUMNS}, t.response, total FROM (SELECT r.id AS found, count(*) OVER () AS total {_FROM} "
                f"WHERE {where} {order} LIMIT ? OFFSET ?) JOIN rollouts r ON r.id = found "
                f"JOIN groups g ON g.key = r.group_key JOIN texts t ON t.id = r.id {order}",
                [*values, most, after],
            ).fetchall()
            if rows:
                total = rows[0][-1]
            elif after:
                total = database.execute(f"SELECT count(*) {_FROM} WHERE {where}", values).fetchone()[0]
        return Found(total, tuple(_rollout(row[:-1]) for row in rows))

    def detail(self, rollout_id: str) -> RolloutDetail | None:
        """One rollout in full; None where there is none of that id, or its segment is gone."""
        group_id, _, place = rollout_id.rpartition(".")
        rows = self._rows("SELECT key, segment, offset, length FROM groups WHERE group_id = ?", [group_id])
        if not rows or not place.isdigit():
            return None
        key, *where = rows[0]
        found = self._rows(
            f"SELECT {_COLUMNS}, t.response {_FROM} JOIN texts t ON t.id = r.id WHERE r.id = ?",
            [key * RESPONSES_OF_A_GROUP + int(place)],
        )
        group = read_group(self._log, Location(*where))
        if not found or group is None:
            return None
        return detail_of(_rollout(found[0]), group, int(place), self._texts)

    def choices(self) -> dict[str, dict[str, int]]:
        """Rollouts by rule, and by source."""
        by_rule = self._rows("SELECT rule, count(*) FROM rollouts GROUP BY rule ORDER BY 2 DESC", [])
        by_source = self._rows(f"SELECT g.source, count(*) {_FROM} GROUP BY g.source ORDER BY 2 DESC", [])
        return {"rule": dict(by_rule), "source": dict(by_source)}

    def by_source(self) -> list[dict[str, Any]]:
        """Means over the rollouts of each step and source, in the order of steps."""
        names = ("step", "source", "responses", "reward", "correct", "truncated", "response_length")
        rows = self._rows(
            "SELECT g.step, g.source, count(*), avg(r.reward), avg(r.verdict = 'correct'), avg(r.finish = 'length'), "
            f"avg(r.length) {_FROM} WHERE g.step IS NOT NULL GROUP BY g.step, g.source ORDER BY g.step, g.source",
            [],
        )
        return [dict(zip(names, row, strict=True)) for row in rows]

    def close(self) -> None:
        """Deletes what had to be written elsewhere than in the run directory."""
        if self._aside is not None:
            self._aside.cleanup()

    def _make(self, database: sqlite3.Connection) -> None:
        """Makes the index in the caller's transaction, unless it is there and was made so."""
        by = f"{FORMAT} {self._texts.name}"
        if (
            database.execute("SELECT 1 FROM sqlite_master WHERE name = 'made'").fetchone()
            and database.execute("SELECT 1 FROM made WHERE by = ?", (by,)).fetchone()
        ):
            return
        for statement in (*DROP.split(";"), *SCHEMA.split(";")):
            database.execute(statement)
        start = Position(oldest_segment(self._log))
        database.execute("INSERT INTO made VALUES (1, ?, ?, ?)", (by, start.segment, start.offset))

    def _rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._opened() as database:
            return database.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._file, _BUSY_SECONDS, isolation_level=None)) as database:
                # What is lost with the machine is read from the log again.
                database.execute("PRAGMA synchronous = OFF")
                yield database
                if database.in_transaction:
                    database.execute("COMMIT")
        except sqlite3.Error as error:
            raise RolloutsUnreadable(f"{self._file}: {error}; delete it, and it is made anew") from error
        except CorruptLog as error:
            raise RolloutsUnreadable(str(error)) from error


def _few_have(database: sqlite3.Connection, text: str) -> bool:
    """Whether few responses have the runs of three characters of a text."""
    runs = runs_of(text)
    if not runs:
        return False
    found = "SELECT 1 FROM texts_index WHERE texts_index MATCH ? LIMIT ?"
    return int(database.execute(f"SELECT count(*) FROM ({found})", (runs, _FEW)).fetchone()[0]) < _FEW


def _rollout(row: Sequence[Any]) -> Rollout:
    place = row[0] % RESPONSES_OF_A_GROUP
    group_id, prompt_id, stage, source, step, stale, *figures, gold_answers, response = row[1:]
    group = (group_id, prompt_id, stage, source, step, bool(stale))
    *figures, terms, problem = figures
    judged = (*figures, json.loads(terms), problem, tuple(json.loads(gold_answers)))
    values: list[Any] = [f"{group_id}.{place}", *group, *judged, response]
    return Rollout(*values)


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)
