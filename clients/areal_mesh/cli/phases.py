"""What a service does while it starts, as its log tells: loading takes minutes, which nobody should wait in silence."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from areal_mesh.cli.times import shown_seconds
from areal_mesh.runtime.supervision import ProcessState

_TAIL_BYTES = 16 << 10
_PHASE = re.compile(r"\] phase +(?:\S+=\S+ )*?now=(?:'(?P<words>[^']*)'|(?P<word>\S+))")
"""A line of `runtime.telemetry.note_phase`, as it stands in a service's log."""


def phase_of(lines: Sequence[str]) -> str:
    """The phase that the last of these lines tells of; `starting` where none tells anything."""
    for line in reversed(lines):
        if found := _PHASE.search(line):
            return found["words"] or found["word"]
    return "starting"


def phase_in(log: Path, offset: int = 0) -> str:
    """The phase that a log tells of behind byte `offset`, where the service's present life begins."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(offset, end - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return "starting"
    return phase_of(text.splitlines())


def process_note(state: ProcessState, log: Path, *, loading: bool) -> str:
    """What is told of a service's process: its number, what it loads, and how often and why it was started again."""
    what = f"process {state.pid}" if state.pid else state.phase.value
    if state.pid and loading:
        what = f"{phase_in(log, state.log_offset)}, {shown_seconds(time.monotonic() - state.began)}"
    if not state.restarts:
        return what
    why = f"{state.last_exit}: {state.cause}" if state.cause else state.last_exit
    return f"{what}, {state.restarts} {'restart' if state.restarts == 1 else 'restarts'} ({why})"
