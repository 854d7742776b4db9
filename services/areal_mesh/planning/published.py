"""Published hours and tokens a second, each with the set-up it was measured in and its source."""

from collections.abc import Mapping
from dataclasses import dataclass

from areal_mesh.planning.lengths import LENGTHS
from areal_mesh.planning.shapes import MODELS
from areal_mesh.planning.workload import Layout, Workload

PROMPTS = 40_315
"""Of AReaL v0.1's training set (tutorial of v0.1.2)."""
EPOCHS = 10
LIMIT = 16_384
"""Response limit of the tutorial's runs, of which the hours are (`examples/train_batch_*.sh` of v0.1.1)."""
HARDWARE = "h800"


@dataclass(frozen=True)
class PublishedRun:
    """A run of somebody else's, and what is known of it."""

    calibration: str
    """Of the system that ran it."""
    work: Workload
    layout: Layout
    hours: float | None
    """For ten epochs."""
    tokens_per_second: float | None
    source: str


def steps_of(work: Workload, epochs: float, prompts: int) -> float:
    """Steps of so many epochs."""
    return epochs * prompts / work.groups


_SMALL, _LARGE = "DeepSeek-R1-Distill-Qwen-1.5B", "DeepSeek-R1-Distill-Qwen-7B"
_TUTORIAL = "examples/README.md of AReaL v0.1.2, total time"
_TOKENS = "AReaL v0.1, end-to-end tokens a second on 8, 32 and 128 H800"
_ASYNCHRONOUS = "asynchronous AReaL paper, throughput by eta on 8 H800"


def _tutorial(model: str, responses: int) -> Workload:
    return Workload(
        MODELS[model], LENGTHS[model], LIMIT, 1024, responses, max_sequences=128, max_staleness=0, extra_passes=1
    )


def _by_eta(eta: int) -> Workload:
    """1.5B, 64 x 16, 8K; how many sequences an engine ran at once is not said."""
    return Workload(MODELS[_SMALL], LENGTHS[_SMALL], 8192, 64, 16, max_sequences=512, max_staleness=eta, extra_passes=1)


def _eta(eta: int, rate: float) -> PublishedRun:
    return PublishedRun("areal-async", _by_eta(eta), Layout(6, 2), None, rate, _ASYNCHRONOUS)


RUNS: Mapping[str, PublishedRun] = {
    # One node takes turns: four engines of two GPUs; training on all eight (`actor_gen:d4p1m2,*:d4p2m1`).
    "1.5B, 1 node": PublishedRun(
        "areal-v0.1", _tutorial(_SMALL, 8), Layout(8, 8, 2, time_shared=True), 520, 14_000, f"{_TUTORIAL}; {_TOKENS}"
    ),
    "1.5B, 4 nodes": PublishedRun(
        "areal-v0.1", _tutorial(_SMALL, 8), Layout(16, 16), 150, 54_000, f"{_TUTORIAL}; {_TOKENS}"
    ),
    "1.5B, 16 nodes": PublishedRun(
        "areal-v0.1", _tutorial(_SMALL, 8), Layout(64, 64), 50, 155_000, f"{_TUTORIAL}; {_TOKENS}"
    ),
    "7B, 4 nodes": PublishedRun("areal-v0.1", _tutorial(_LARGE, 16), Layout(16, 16, 4), 680, None, _TUTORIAL),
    "7B, 16 nodes": PublishedRun("areal-v0.1", _tutorial(_LARGE, 16), Layout(64, 64, 4), 200, None, _TUTORIAL),
    "eta 0": _eta(0, 27_100),
    "eta 1": _eta(1, 47_800),
    "eta 4": _eta(4, 49_000),
    "eta 8": _eta(8, 51_500),
}
"""By name. Of the 7B runs v0.1.1 said 410 and 130 hours, which v0.1.2 corrected: its epoch had 20 steps, not 40."""
FIGURE_2: Mapping[str, Mapping[int, float]] = {
    "1.5B": {1: 520, 4: 150, 16: 40},
    "7B": {4: 410, 16: 130},
}
"""Hours by nodes as the bars of the release note's Figure 2 say them."""
