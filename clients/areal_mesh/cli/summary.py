"""The table at the end of a run, from its `summary.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from areal_mesh.cli.view import reason_lines

_ABSENT = "-"


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary, or None where there is none yet."""
    if not path.is_file():
        return None
    summary: dict[str, Any] = json.loads(path.read_text())
    return summary


def summary_table(summary: Mapping[str, Any]) -> Table:
    """One table: a line for each stage, then the run's figures. Keys that are absent show as a dash."""
    table = Table(title=f"run {summary.get('run', '')}".strip(), title_justify="left", show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("figures")
    for stage in summary.get("stages", []):
        table.add_row(f"stage {stage.get('name', _ABSENT)}", _stage_line(stage))
    table.add_section()
    for name, value in _figures(summary):
        table.add_row(name, value)
    return table


def _stage_line(stage: Mapping[str, Any]) -> str:
    return (
        f"{stage.get('steps', _ABSENT)} steps of up to {stage.get('max_response_tokens', _ABSENT)} tokens; "
        f"reward {_ends(stage.get('reward'), '+.2f')}; "
        f"length {_ends(stage.get('response_length'), '.1f')}; "
        f"truncated {_ends(stage.get('truncated'), '.0%')}"
    )


def _ends(ends: Mapping[str, float | None] | None, style: str) -> str:
    if not ends:
        return _ABSENT
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
        ("tokens generated", _number(summary.get("tokens_generated"), ",")),
        ("tokens trained", _number(summary.get("tokens_trained"), ",")),
        ("weight updates", _number(summary.get("weight_updates"), ",")),
        ("paused in all", _seconds(summary.get("pause_seconds"))),
        ("staleness", f"mean {_number(staleness.get('mean'), '.2f')}, max {_number(staleness.get('max'), '.0f')}"),
        ("mismatch KL", _number(summary.get("mismatch_kl"), ".2e")),
        ("groups", f"leased {groups.get('leased', 0):,}: {ends}" if groups else _ABSENT),
        *(("", line) for line in reason_lines(summary.get("end_reasons", {}))),
    ]


def _seconds(value: float | None) -> str:
    return _number(value, ".1f") + ("" if value is None else " s")
