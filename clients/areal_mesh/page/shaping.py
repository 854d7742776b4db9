"""Figures and rollouts as the page takes them. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from areal_mesh.rollouts.values import ORDERS, Rollout, RolloutQuery

_EXCERPT = 320
_BEFORE_MATCH = 40
_KEYS = ("verdict", "finish", "source", "rule", "group_id")


class BadRequest(ValueError):
    """The request cannot be answered; says what is wrong with it."""


def columns(rows: Sequence[Mapping[str, Any]], after: int) -> dict[str, list[Any]]:
    """Numbers of the steps after one, by metric; None where a step did not measure one. Stages are there by name."""
    new = [row for row in rows if row["step"] > after]
    names = {name for row in new for name, value in row.items() if _is_number(value)} | {"stage_name"}
    return {name: [row.get(name) for row in new] for name in sorted(names)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A value as JSON can say it: numbers that are not finite, such as the loss of a step gone wrong, are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def query_of(given: Mapping[str, str]) -> RolloutQuery:
    """The query of a request's parameters; those that are empty do not matter, and `-` is the empty source.

    Raises:
        BadRequest: one of them is none.
    """
    chosen: dict[str, Any] = {key: given[key] for key in _KEYS if given.get(key)}
    if chosen.get("source") == "-":
        chosen["source"] = ""
    if given.get("step"):
        chosen["step"] = number_of(given, "step", 0)
    if given.get("order"):
        if given["order"] not in ORDERS:
            raise BadRequest(f"order = {given['order']}: is none of {', '.join(ORDERS)}")
        chosen["order"] = given["order"]
    return RolloutQuery(text=given.get("text", ""), **chosen)


def number_of(given: Mapping[str, str], key: str, otherwise: int) -> int:
    """A count among a request's parameters.

    Raises:
        BadRequest: it is none.
    """
    text = given.get(key) or str(otherwise)
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadRequest(f"{key} = {text}: is no count")
    return int(text)


def listed(rollout: Rollout, text: str) -> dict[str, Any]:
    """A rollout for a list: its texts cut to what is shown, the response round the place where `text` stands."""
    whole = asdict(rollout)
    whole["response"] = excerpt(rollout.response, text)
    whole["problem"] = excerpt(rollout.problem, text)
    return whole


def excerpt(whole: str, text: str) -> str:
    """A part of a text, round the first place of another one in it where there is one."""
    place = max(0, whole.lower().find(text.lower())) if text else 0
    # From the line in which it stands, where that has not begun long before.
    start = max(whole.rfind("\n", 0, place) + 1, place - _BEFORE_MATCH)
    cut = whole[start : start + _EXCERPT]
    return ("…" if start else "") + cut + ("…" if start + _EXCERPT < len(whole) else "")
