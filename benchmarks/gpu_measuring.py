"""What the parts of `gpu_learner` share: how large everything is, rounds that end in time, the device's matrix rate."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from rich.console import Console

from areal_mesh.learner.model.parallel import single
from areal_mesh.learner.model.precision import DTYPES
from areal_mesh.planning.hardware import HARDWARE
from areal_mesh.planning.shapes import MODELS, ModelShape

Round = TypeVar("Round")
_PRODUCTS = 8
"""In a round: one alone would be too short for the clock of a small matrix."""
_MATRIX_ROUNDS = 40


@dataclass(frozen=True)
class Lengths:
    """Sequences for attention, in tokens."""

    name: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Rollouts:
    """Made-up rollouts for a training step."""

    name: str
    groups: int
    response_tokens: int
    aim: float
    """MFU of the nominal rate that the project aims at."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    device: str
    dtype: str
    shape: ModelShape
    matrix: int
    """Rows and columns."""
    attention: tuple[Lengths, ...]
    eight: Rollouts
    twenty_four: Rollouts
    prompt_tokens: int
    micro_batch_tokens: int
    rounds: int

    @property
    def is_real(self) -> bool:
        """Whether its figures say something of a GPU."""
        return self.device == "cuda"

    @property
    def torch_device(self) -> torch.device:
        """Where everything runs."""
        return torch.device(self.device)

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of the arithmetic."""
        return DTYPES[self.dtype]

    def settle(self) -> None:
        """Wait for the device."""
        single(self.device).settle()


def _spread(limit: int, count: int) -> tuple[int, ...]:
    """Lengths evenly from the `count`-th part of the limit to the whole of it."""
    return tuple(limit * (number + 1) // count for number in range(count))


REAL = Scale(
    device="cuda",
    dtype="bfloat16",
    shape=MODELS["Qwen2.5-1.5B"],
    matrix=8192,
    attention=(
        Lengths("8k", _spread(8192, 16)),
        Lengths("24k", _spread(24576, 8)),
        Lengths("24k_equal", (24576,) * 4),
    ),
    eight=Rollouts("8k", groups=4, response_tokens=8192, aim=0.45),
    twenty_four=Rollouts("24k", groups=2, response_tokens=24576, aim=0.50),
    prompt_tokens=128,
    micro_batch_tokens=4 * (8192 + 128),
    rounds=5,
)
TINY = Scale(
    device="cpu",
    dtype="float32",
    shape=ModelShape(2, 32, 4, 2, 8, 48, 128, tied=True),
    matrix=64,
    attention=(Lengths("8k", _spread(32, 4)), Lengths("24k_equal", (32,) * 2)),
    eight=Rollouts("8k", groups=2, response_tokens=32, aim=0.45),
    twenty_four=Rollouts("24k", groups=1, response_tokens=96, aim=0.50),
    prompt_tokens=8,
    micro_batch_tokens=120,
    rounds=2,
)


class OutOfTime(RuntimeError):
    """A part that has no time for a single round."""


@dataclass(frozen=True)
class Deadline:
    """A moment on the clock that a part has to be over by."""

    at: float
    now: Callable[[], float] = time.monotonic

    @property
    def left(self) -> float:
        """Seconds until then."""
        return self.at - self.now()


@dataclass
class Report:
    """What is said as it is found out, and the figures for the end."""

    nominal: float | None
    """Matrix operations a second by the maker's data sheet; None for a device that `HARDWARE` does not have."""
    console: Console = field(default_factory=lambda: Console(width=110, record=True, highlight=False))
    measured: float | None = None
    """The same as this device has just been seen to do."""
    figures: dict[str, float] = field(default_factory=dict)
    cuts: list[str] = field(default_factory=list)

    def cut(self, what: str) -> None:
        """Say what was left out for want of time."""
        self.cuts.append(what)
        self.console.print(f"cut: {what}")


def take_rounds(name: str, round_: Callable[[], Round], most: int, deadline: Deadline, report: Report) -> list[Round]:
    """What the rounds gave, up to `most` of them; a first one, which warms the device up, is left out.

    None is begun that would be over after the deadline, if it took as long as the longest so far; what is left out is
    said. Raises OutOfTime if there is time for none.
    """
    found: list[Round] = []
    longest = 0.0
    for number in range(most + 1):
        if deadline.left <= longest:
            if not found:
                raise OutOfTime(f"{name}: {max(deadline.left, 0):.0f} s left; a round takes {longest:.1f} s or more")
            report.cut(f"{name}: {len(found)} of {most} rounds, its time is up")
            break
        begun = deadline.now()
        given = round_()
        took = deadline.now() - begun
        # What the warm-up took is no measure of a round, but all that is known before the first.
        longest = took if number <= 1 else max(longest, took)
        found += [given] if number else []
    return found


def timed(work: Callable[[], object], settle: Callable[[], None]) -> float:
    """Seconds that the work takes until the device is done with it."""
    settle()
    begun = time.perf_counter()
    work()
    settle()
    return time.perf_counter() - begun


def measure_matrix_rate(scale: Scale, deadline: Deadline, report: Report) -> None:
    """Operations a second of products of large square matrices, which is what MFU may be held against."""
    torch.manual_seed(0)
    size = (scale.matrix, scale.matrix)
    left, right = (torch.randn(size, device=scale.torch_device, dtype=scale.torch_dtype) for _ in range(2))
    target = torch.empty_like(left)

    def products() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(left, right, out=target)

    rounds = take_rounds("matrix", lambda: timed(products, scale.settle), _MATRIX_ROUNDS, deadline, report)
    report.measured = _PRODUCTS * 2.0 * scale.matrix**3 / statistics.median(rounds)
    report.figures["matrix_tflops"] = report.measured / 1e12
    nominal = "no nominal rate is known" if report.nominal is None else f"nominal {report.nominal / 1e12:.0f}"
    report.console.print(f"products of {size} in {scale.dtype}: {report.measured / 1e12:.4g} TFLOP/s, {nominal}")


def nominal_flops(name: str) -> float | None:
    """Of a device by its name, such as "NVIDIA H200"; the data sheet's of the SXM module where there are several."""
    words = name.lower().replace(" ", "")
    return next((hardware.flops for key, hardware in HARDWARE.items() if key in words), None)
