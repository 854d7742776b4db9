"""From the replay log into the index: groups as they are stored, their steps as they are decided."""

import json
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from areal_mesh.replay.reading import Chosen, Dropped, Entry, Position, SetAside, entries, oldest_segment
from areal_mesh.rollouts.schema import RESPONSES_OF_A_GROUP
from areal_mesh.rollouts.texts import TextReader
from areal_mesh.runtime.groups import decode_int32
from areal_mesh.v1 import rollout_pb2

_PUT_GROUP = (
    "INSERT INTO groups (group_id, prompt_id, stage, source, problem, gold_answers, segment, offset, length) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PUT_ROLLOUT = "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_VERDICTS = {rollout_pb2.VERDICT_STATUS_CORRECT: "correct", rollout_pb2.VERDICT_STATUS_INCORRECT: "incorrect"}
_FINISHES = {rollout_pb2.FINISH_REASON_STOP: "stop", rollout_pb2.FINISH_REASON_LENGTH: "length"}


def take_entries(database: sqlite3.Connection, log: Path, texts: TextReader, most: int) -> int:
    """Takes the next `most` records of the log in the caller's transaction; returns how many there were.

    Raises:
        CorruptLog: a segment's header is damaged.
    """
    position = Position(*database.execute("SELECT segment, offset FROM made").fetchone())
    _forget(database, oldest_segment(log))
    taken = 0
    for entry in islice(entries(log, position), most):
        _take(database, entry, texts)
        position = entry.next
        taken += 1
    database.execute("UPDATE made SET segment = ?, offset = ?", (position.segment, position.offset))
    return taken


def _take(database: sqlite3.Connection, entry: Entry, texts: TextReader) -> None:
    if entry.group is not None:
        _put_group(database, entry, entry.group, texts)
        return
    match entry.event:
        case Chosen(step, group_ids):
            _mark(database, group_ids, "step = ?", step)
        case SetAside(step, group_ids):
            # The others of the batch wait again, until the step is drawn again.
            database.execute("UPDATE groups SET step = NULL WHERE step = ?", (step,))
        case Dropped(group_ids, _, _):
            _mark(database, group_ids, "stale = ?", 1)


def _mark(database: sqlite3.Connection, group_ids: tuple[str, ...], change: str, value: int) -> None:
    database.executemany(f"UPDATE groups SET {change} WHERE group_id = ?", [(value, name) for name in group_ids])


def _put_group(database: sqlite3.Connection, entry: Entry, group: rollout_pb2.Group, texts: TextReader) -> None:
    location = entry.location
    if database.execute("SELECT 1 FROM groups WHERE group_id = ?", (group.group_id,)).fetchone():
        return
    where = (location.segment, location.offset, location.length)
    # A log written before problems were stored has the prompt.
    problem = group.problem or texts.text(decode_int32(group.prompt_token_ids))
    gold_answers = json.dumps(list(group.gold_answers), ensure_ascii=False)
    about = (group.group_id, group.prompt_id, group.stage.name, group.source, problem, gold_answers)
    key = int(database.execute(_PUT_GROUP, (*about, *where)).lastrowid or 0)
    rows, written = [], []
    for place, (response, token_ids) in enumerate(responses_of(group)):
        row = key * RESPONSES_OF_A_GROUP + place
        rows.append((row, key, *_figures(response)))
        written.append((row, texts.text(token_ids)))
    database.executemany(_PUT_ROLLOUT, rows)
    database.executemany("INSERT INTO texts VALUES (?, ?)", written)
    database.executemany("INSERT INTO texts_index (rowid, response) VALUES (?, ?)", written)


def responses_of(group: rollout_pb2.Group) -> Iterator[tuple[rollout_pb2.ResponseInfo, Any]]:
    """What is known of each response, with its token ids."""
    token_ids = decode_int32(group.response_token_ids)
    start = 0
    for response in group.responses:
        yield response, token_ids[start : start + response.length]
        start += response.length


def _figures(response: rollout_pb2.ResponseInfo) -> tuple[Any, ...]:
    verdict = response.verdict
    versions = [span.policy_version for span in response.version_spans]
    return (
        _VERDICTS.get(verdict.status, "error"),
        verdict.rule,
        verdict.reward,
        response.length,
        _FINISHES.get(response.finish_reason, "unknown"),
        min(versions, default=-1),
        max(versions, default=-1),
        verdict.extracted,
        json.dumps({term.name: term.value for term in verdict.terms}),
    )


def _forget(database: sqlite3.Connection, oldest: int) -> None:
    """Takes out what lies in segments that are gone."""
    keys = [row[0] for row in database.execute("SELECT key FROM groups WHERE segment < ?", (oldest,))]
    for key in keys:
        first = key * RESPONSES_OF_A_GROUP
        rows = "id >= ? AND id < ?"
        bounds = (first, first + RESPONSES_OF_A_GROUP)
        database.execute(
            "INSERT INTO texts_index (texts_index, rowid, response) SELECT 'delete', id, response FROM texts "
            f"WHERE {rows}",
            bounds,
        )
        database.execute(f"DELETE FROM texts WHERE {rows}", bounds)
        database.execute(f"DELETE FROM rollouts WHERE {rows}", bounds)
    database.executemany("DELETE FROM groups WHERE key = ?", [(key,) for key in keys])
