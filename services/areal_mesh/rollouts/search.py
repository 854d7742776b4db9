"""A query as SQL. Pure.

A text is looked for in every response, which reads all of them, unless few have all of its runs of three characters:
`texts_index` knows which do. It is no index of words, so that any part of any text is found.
"""

import re
from typing import Any

from areal_mesh.rollouts.values import Order, RolloutQuery

ORDER: dict[Order, str] = {
    "newest": "r.id DESC",
    "oldest": "r.id",
    "longest": "r.length DESC, r.id",
    "shortest": "r.length, r.id",
    "best": "r.reward DESC, r.id",
    "worst": "r.reward, r.id",
}
_EQUAL = {
    "verdict": "r.verdict",
    "finish": "r.finish",
    "rule": "r.rule",
    "step": "g.step",
    "source": "g.source",
    "group_id": "g.group_id",
}
_IN_PROBLEM = "r.group_key IN (SELECT key FROM groups WHERE problem LIKE ? ESCAPE '\\')"
_IN_ANY_RESPONSE = "r.id IN (SELECT id FROM texts WHERE response LIKE ? ESCAPE '\\')"
_IN_FEW_RESPONSES = (
    "r.id IN (SELECT id FROM texts WHERE id IN (SELECT rowid FROM texts_index WHERE texts_index MATCH ?) "
    "AND response LIKE ? ESCAPE '\\')"
)
_WILDCARDS = re.compile(r"[\\%_]")
_RUN = 3
_MOST_RUNS = 24


def runs_of(text: str) -> str:
    """What `texts_index` is asked for responses that have the text's runs of three characters; empty: nothing."""
    runs = [text[start : start + _RUN] for start in range(len(text) - _RUN + 1)]
    return " AND ".join('"' + run.replace('"', '""') + '"' for run in runs[:_MOST_RUNS])


def condition(query: RolloutQuery, few: bool) -> tuple[str, list[Any]]:
    """The WHERE of a query over `rollouts r JOIN groups g`, and its values.

    Args:
        few: whether few responses have the runs of the query's text.
    """
    parts: list[str] = ["1"]
    values: list[Any] = []
    for field, column in _EQUAL.items():
        wanted = getattr(query, field)
        if wanted is not None:
            parts.append(f"{column} = ?")
            values.append(wanted)
    if query.text:
        pattern = "%" + _WILDCARDS.sub(r"\\\g<0>", query.text) + "%"
        parts.append(f"({_IN_FEW_RESPONSES if few else _IN_ANY_RESPONSE} OR {_IN_PROBLEM})")
        values += [*([runs_of(query.text)] if few else []), pattern, pattern]
    return " AND ".join(parts), values
