"""How long a run has gone on, and how long it will at the pace of its steps. Pure."""

from datetime import datetime

from areal_mesh.client import RunState, RunStatus


def shown_seconds(seconds: float) -> str:
    """A time as people say it: `42 s`, `3 min 20 s`, `2 h 05 min`, `1 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def times_line(status: RunStatus, now: datetime) -> str:
    """Time since the run began, and what is left of it at most; empty where nobody says when it began."""
    if status.started is None:
        return ""
    line = f"elapsed {shown_seconds((now - status.started).total_seconds())}"
    left = seconds_left(status)
    return line if left is None else f"{line}, left {shown_seconds(left)} at most"


def seconds_left(status: RunStatus) -> float | None:
    """Seconds that the steps which are left take at the last steps' pace; None where nobody can say."""
    pace = status.step_metrics.get("step_seconds")
    if status.state is not RunState.RUNNING or not status.planned_steps or pace is None:
        return None
    return max(0.0, pace * (status.planned_steps - status.step))
