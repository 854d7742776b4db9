"""Fits the measured constants to runs whose figures are known. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace

from areal_mesh.planning.calibration import PRIOR, Constants
from areal_mesh.planning.hardware import HARDWARE
from areal_mesh.planning.published import EPOCHS, PROMPTS, PublishedRun, steps_of
from areal_mesh.planning.published import HARDWARE as PUBLISHED_HARDWARE
from areal_mesh.planning.step import step_time

_NAMES = ("host_seconds", "eager_host_seconds", "training_share", "fixed_seconds")
_PRIOR_WEIGHT = 0.02
"""Of a constant that is e times its prior, against a figure that is missed by a factor of e."""
_FIRST_STEP, _LAST_STEP = 0.4, 1e-4


def predicted(run: PublishedRun, constants: Constants) -> dict[str, tuple[float, float]]:
    """(predicted, published) of each figure of a run: `hours`, `tokens_per_second`."""
    time = step_time(run.work, run.layout, HARDWARE[PUBLISHED_HARDWARE], constants)
    found: dict[str, tuple[float, float]] = {}
    if run.hours is not None:
        found["hours"] = (steps_of(run.work, EPOCHS, PROMPTS) * time.seconds / 3600, run.hours)
    if run.tokens_per_second is not None:
        found["tokens_per_second"] = (time.tokens_per_second, run.tokens_per_second)
    return found


def fit(runs: Sequence[PublishedRun], prior: Constants = PRIOR) -> Constants:
    """The constants with the least squares of the logarithms of what is missed, and of the way from the prior."""
    best, least = prior, _loss(runs, prior, prior)
    step = _FIRST_STEP
    while step > _LAST_STEP:
        moved = False
        for name in _NAMES:
            for factor in (math.exp(step), math.exp(-step)):
                tried = replace(best, **{name: getattr(best, name) * factor})
                loss = _loss(runs, tried, prior)
                if loss < least:
                    best, least, moved = tried, loss, True
        if not moved:
            step /= 2
    return best


def held_out(runs: Mapping[str, PublishedRun], name: str) -> dict[str, tuple[float, float]]:
    """(predicted, published) of each figure of a run by constants that were fitted to the others of its system."""
    run = runs[name]
    others = [other for key, other in runs.items() if key != name and other.calibration == run.calibration]
    return predicted(run, fit(others))


def _loss(runs: Sequence[PublishedRun], constants: Constants, prior: Constants) -> float:
    missed = (math.log(value / known) for run in runs for value, known in predicted(run, constants).values())
    moved = (math.log(value / start) for value, start in zip(astuple(constants), astuple(prior), strict=True))
    return sum(miss**2 for miss in missed) + _PRIOR_WEIGHT * sum(way**2 for way in moved)
