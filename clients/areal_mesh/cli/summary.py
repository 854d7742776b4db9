"""The table at the end of a run, from its `summary.json`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table

from areal_mesh.cli.view import counted, lengths_line, reason_lines
from areal_mesh.runtime.curves import first_and_last, mean
from areal_mesh.views.rows import Row

_ENDS = ("trained", "stale", "filtered", "failed")
_ABSENT = "-"


def summary_so_far(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What the steps in `metrics.jsonl` tell of a run that has not ended, under the keys of a summary."""
    ages = Counter({int(age): 0 for row in rows for age in row.get("staleness", {})})
    for row in rows:
        ages.update({int(age): count for age, count in row.get("staleness", {}).items()})
    last = rows[-1]
    ends = {end: last.get(f"groups_{end}", 0) for end in ("stale", "filtered", "failed", "open")}
    leased = last.get("groups_leased", 0)
    return {
        "run": name,
        "steps": len(rows),
        "policy_version": last.get("policy_version"),
        "tokens_generated": last.get("tokens_generated"),
        "tokens_trained": sum(row.get("tokens_trained", 0) for row in rows),
        "steps_without_update": sum(row.get("optimizer_updates") == 0 for row in rows),
        "equal_rewards": mean([row.get("equal_rewards") for row in rows]),
        "staleness": {
            "mean": sum(age * count for age, count in ages.items()) / max(1, ages.total()),
            "max": max(ages, default=0),
        },
        "mismatch_kl": mean([row.get("mismatch_kl") for row in rows]),
        "groups": {"trained": leased - sum(ends.values()), **ends, "leased": leased},
        "group_tokens": {end: last[key] for end in _ENDS if (key := f"{end}_group_tokens") in last},
        "end_reasons": last.get("end_reasons", {}),
        "reason_tokens": last.get("reason_tokens", {}),
        "stages": [_stage_so_far(list(of_stage)) for _, of_stage in groupby(rows, lambda row: row.get("stage"))],
    }


def _stage_so_far(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "name": rows[0].get("stage_name", _ABSENT),
        "max_response_tokens": rows[0].get("max_response_tokens", _ABSENT),
        "steps": len(rows),
    } | {name: first_and_last([row.get(name) for row in rows]) for name in ("reward", "response_length", "truncated")}


def summary_table(summary: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()) -> Table:
    """One table: a line for each stage, then the run's figures, and `more`. Keys that are absent show as a dash."""
    table = Table(title=f"run {summary.get('run', '')}".strip(), title_justify="left", show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("figures")
    for stage in summary.get("stages", []):
        table.add_row(f"stage {stage.get('name', _ABSENT)}", _stage_line(stage))
    table.add_section()
    for name, value in (*_figures(summary), *more):
        table.add_row(name, value)
    return table


def _stage_line(stage: Mapping[str, Any]) -> str:
    steps = stage.get("steps")
    taken = _ABSENT if steps is None else counted(steps, "step")
    figures = (("reward", "reward", "+.2f"), ("length", "response_length", ".1f"), ("truncated", "truncated", ".0%"))
    told = [f"{label} {_ends(stage.get(key), style, steps)}" for label, key, style in figures]
    return f"{taken} of up to {stage.get('max_response_tokens', _ABSENT)} tokens; {'; '.join(told)}"


def _ends(ends: Mapping[str, float | None] | None, style: str, steps: int | None) -> str:
    if not ends:
        return _ABSENT
    if steps is not None and steps < 2:
        # The only step of a stage is no way from one figure to another.
        return _number(ends.get("last"), style)
    return f"{_number(ends.get('first'), style)} → {_number(ends.get('last'), style)}"


def _number(value: float | None, style: str) -> str:
    return _ABSENT if value is None else format(value, style)


def _figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    staleness, groups = summary.get("staleness", {}), summary.get("groups", {})
    ends = ", ".join(f"{name} {count:,}" for name, count in groups.items() if name != "leased")
    return [
        ("steps", f"{summary.get('steps', _ABSENT)}"),
        ("policy version", f"{summary.get('policy_version', _ABSENT)}"),
        ("wall time", _seconds(summary.get("wall_seconds"))),
        ("set-up", _seconds(summary.get("setup_seconds"))),
        ("overlap", _seconds(summary.get("overlap_seconds"))),
        ("learner idle", _idle(summary.get("idle_seconds"), summary.get("updating_seconds"))),
        ("tokens generated", _number(summary.get("tokens_generated"), ",")),
        ("tokens trained", _number(summary.get("tokens_trained"), ",")),
        ("steps without update", _number(summary.get("steps_without_update"), ",")),
        ("groups of equal rewards", _number(summary.get("equal_rewards"), ".0%")),
        ("weight updates", _number(summary.get("weight_updates"), ",")),
        ("paused in all", _seconds(summary.get("pause_seconds"))),
        ("staleness", f"mean {_number(staleness.get('mean'), '.2f')}, max {_number(staleness.get('max'), '.0f')}"),
        ("mismatch KL", _number(summary.get("mismatch_kl"), ".2e")),
        ("groups", f"leased {groups.get('leased', 0):,}: {ends}" if groups else _ABSENT),
        ("tokens a group", lengths_line(summary.get("group_tokens", {}))),
        *(("", line) for line in reason_lines(summary.get("end_reasons", {}), summary.get("reason_tokens", {}))),
    ]


def _idle(causes: Mapping[str, float] | None, updating: float | None) -> str:
    """The share of its time in which the learner did not train, and of what waiting it was made."""
    if not causes or updating is None:
        return _ABSENT
    idle = sum(causes.values())
    parts = ", ".join(f"{cause} {seconds / idle:.0%}" for cause, seconds in causes.items() if seconds >= 0.01 * idle)
    return f"{idle / max(idle + updating, 1e-9):.0%}: {parts}"


def _seconds(value: float | None) -> str:
    return _number(value, ".1f") + ("" if value is None else " s")
