"""What of the learner only a GPU can show: its attention, and training steps of a 1.5B model, in eight minutes.

    python -m benchmarks.gpu_learner [--seconds 480]
    python -m benchmarks.gpu_learner --tiny

One GPU and torch are enough; the model has Qwen2.5-1.5B's shape and random weights. In turn: the rate of matrix
products that the device really has; packed attention, as the learner has it, against torch's over the same sequences
padded; and steps of the learner's own trainer on rollouts of 8K and of 24K tokens, with the model's FLOPs over the
nominal and the measured rate (MFU), the peak of memory and the seconds by phase. FLOPs are those of the model: what is
computed again to save memory counts as no work. Each part has its point of the time by which it is over: rounds that
would overrun it are cut and said. A part that fails is said, and the others run. A device that hangs ends the process
with its stacks.

Exit status: 0 if every part ran, 1 if one did not, 78 without a GPU. `--tiny` goes through all of it with a tiny shape
on a CPU; its figures say nothing. This project has had no GPU so far, and has run nothing but `--tiny`.
"""

import argparse
import faulthandler
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from areal_mesh.runtime.exits import EXIT_CANNOT_START, EXIT_CRASHED
from benchmarks.gpu_attention import measure_attention
from benchmarks.gpu_measuring import (
    REAL,
    TINY,
    Deadline,
    OutOfTime,
    Report,
    Scale,
    measure_matrix_rate,
    nominal_flops,
)
from benchmarks.gpu_steps import Training
from benchmarks.meshrun import write_result

_SECONDS = 480.0
_STDERR = 2
_GRACE_SECONDS = 30.0
"""Beyond all of the time; a round that still goes on then hangs."""


@dataclass(frozen=True)
class Part:
    """One thing that is measured."""

    name: str
    over_by: float
    """Share of the time; what a part leaves is the next one's."""
    measure: Callable[[Deadline, Report], None]


def parts_of(scale: Scale, training: Training) -> tuple[Part, ...]:
    """In the order in which they run: the model's start is in the time of the first steps."""
    return (
        Part("matrix", 0.03, lambda deadline, report: measure_matrix_rate(scale, deadline, report)),
        Part("attention", 0.20, lambda deadline, report: measure_attention(scale, deadline, report)),
        Part("steps 8k", 0.55, lambda deadline, report: training.measure(scale.eight, deadline, report)),
        Part("steps 24k", 1.00, lambda deadline, report: training.measure(scale.twenty_four, deadline, report)),
    )


def run_parts(
    parts: tuple[Part, ...], seconds: float, report: Report, now: Callable[[], float] = time.monotonic
) -> bool:
    """Whether every part ran; one that has no time left, or fails, is said, and the others run all the same."""
    begun, whole = now(), True
    for part in parts:
        try:
            part.measure(Deadline(begun + part.over_by * seconds, now), report)
        except OutOfTime as error:
            report.cut(f"{part.name} not run to its end: {error}")
            whole = False
        except RuntimeError:
            # Of memory, of a kernel, of a check: what the others show is worth the rest of the time.
            report.console.print(f"failed: {part.name}\n{traceback.format_exc()}", markup=False)
            whole = False
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return whole


@contextmanager
def ended_when_it_hangs(seconds: float) -> Iterator[None]:
    """Ends the process with the stacks of its threads, within a call of the driver too, unless the block is over."""
    # Its number, because whoever captures the output may have put another object in its place.
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _seconds(text: str) -> float:
    """As the command line says it. Raises ArgumentTypeError unless it is a number over 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds over 0, such as {_SECONDS:.0f}")
    return seconds


def main() -> int:
    """Prints tables as they come, and all figures at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=_seconds, default=_SECONDS, help="for all parts together")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape on the CPU: tries the script, says nothing")
    options = parser.parse_args()
    scale = TINY if options.tiny else REAL
    if scale.is_real and not torch.cuda.is_available():
        print(f"not run: torch {torch.__version__} finds no GPU; `--tiny` tries the script on a CPU")
        return EXIT_CANNOT_START
    report = Report(nominal_flops(torch.cuda.get_device_name()) if scale.is_real else None)
    device = torch.cuda.get_device_name() if scale.is_real else "CPU, tiny: no figure says anything"
    report.console.print(f"{device}; torch {torch.__version__}, {scale.dtype}", markup=False)
    with tempfile.TemporaryDirectory() as folder, ended_when_it_hangs(options.seconds + _GRACE_SECONDS):
        whole = run_parts(parts_of(scale, Training(scale, Path(folder))), options.seconds, report)
    for name, value in report.figures.items():
        report.console.print(f"figure: {name} {value:.4g}")
    if scale.is_real and whole:
        write_result("gpu_learner", report.console)
    return 0 if whole else EXIT_CRASHED


if __name__ == "__main__":
    sys.exit(main())
