"""What people are shown of the evaluations of a run during training. Pure."""

from collections.abc import Mapping, Sequence

from areal_mesh.views.rows import Row
from areal_mesh.views.stages import suites_of

_PREFIX = "evaluation/"


def evaluation_lines(metrics: Mapping[str, float]) -> list[str]:
    """A line for each suite from the metrics of a status: the last evaluation."""
    suites = sorted({name.split("/")[1] for name in metrics if name.startswith(_PREFIX)})
    return [_line(suite, {name: metrics.get(f"{_PREFIX}{suite}/{name}") for name in _SHOWN}) for suite in suites]


_SHOWN = ("policy_version", "pass_at_1", "response_length", "truncated")


def _line(suite: str, figures: Mapping[str, float | None]) -> str:
    version, share, length, cut = (figures[name] for name in _SHOWN)
    parts = [
        f"version {version:.0f}" if version is not None else "",
        f"pass@1 {share:.1%}" if share is not None else "",
        f"length {length:,.0f}" if length is not None else "",
        f"truncated {cut:.0%}" if cut is not None else "",
    ]
    return f"evaluation {suite}: {', '.join(part for part in parts if part)}"


def evaluation_figures(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """A name and a value for each suite from `evaluations.jsonl`: pass@1 of every version."""
    return [
        (
            f"pass@1 {suite}",
            ", ".join(
                f"{100 * float(row['pass_at_1']):.1f} (version {row['policy_version']})"
                for row in rows
                if row["suite"] == suite
            ),
        )
        for suite in suites_of(rows)
    ]
