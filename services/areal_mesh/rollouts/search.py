"""A query as SQL. Pure.

`texts_index` holds every three characters that stand in a row, which SQLite uses for LIKE with a run of three or more;
a shorter text is looked for in every response.
"""

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
_IN_RESPONSE = "r.id IN (SELECT rowid FROM texts_index WHERE response LIKE ?)"
_IN_RESPONSE_EXACTLY = "r.id IN (SELECT rowid FROM texts_index WHERE response LIKE ? AND instr(lower(response), ?))"
_IN_PROBLEM = "r.group_key IN (SELECT key FROM groups WHERE instr(lower(problem), ?))"
_TO_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})


def condition(query: RolloutQuery) -> tuple[str, list[Any]]:
    """The WHERE of a query over `rollouts r JOIN groups g`, and its values."""
    parts, values = ["1"], []
    for field, column in _EQUAL.items():
        wanted = getattr(query, field)
        if wanted is not None:
            parts.append(f"{column} = ?")
            values.append(wanted)
    if query.text:
        text, found = _text_condition(query.text)
        parts.append(text)
        values += found
    return " AND ".join(parts), values


def _text_condition(text: str) -> tuple[str, list[Any]]:
    # SQLite's lower() and LIKE know the letters of ASCII alone.
    lowered = text.translate(_TO_LOWER)
    # ESCAPE would have the index left out: what LIKE takes for a wildcard stands for any character, and is checked.
    pattern = "%" + lowered.replace("%", "_") + "%"
    if "_" in pattern:
        return f"({_IN_RESPONSE_EXACTLY} OR {_IN_PROBLEM})", [pattern, lowered, lowered]
    return f"({_IN_RESPONSE} OR {_IN_PROBLEM})", [pattern, lowered]
