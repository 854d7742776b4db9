"""What a service does while it starts, as its log tells: loading takes minutes, which nobody should wait in silence."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from areal_mesh.cli.times import shown_seconds
from areal_mesh.runtime.supervision import ProcessState

_TAIL_BYTES = 16 << 10
PHASES: Sequence[tuple[str, str]] = (
    (r"Initializing a V1 LLM engine|Initializing an? .*engine", "starting the engine"),
    (r"Starting to load model|Loading (safetensors|model|weights)", "loading weights"),
    (r"Loading weights took|Model loading took", "weights are loaded"),
    (r"Dynamo bytecode transform|torch\.compile takes|Compiling a graph|Start compiling", "compiling"),
    (r"Available KV cache memory|KV cache size", "KV cache is laid out"),
    (r"Capturing (CUDA|the) ?graphs?|Graph capturing", "capturing CUDA graphs"),
    (r"init engine|Warming up|warm-?up", "warming up"),
    (r"event.*'?waiting for|waits for", "waiting"),
)
"""Of the engine's log and ours, by what their lines say; the last line that one fits is what goes on now."""


def phase_of(lines: Sequence[str]) -> str:
    """The phase that the last of these lines tells of; `starting` where none tells anything."""
    for line in reversed(lines):
        for pattern, phase in reversed(PHASES):
            if re.search(pattern, line):
                return phase
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
