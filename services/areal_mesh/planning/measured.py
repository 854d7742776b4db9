"""Constants of a run that was measured: from its own summary, its settings and the GPUs that it ran on. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from areal_mesh.planning.calibration import Constants
from areal_mesh.planning.generation import stream_rate
from areal_mesh.planning.hardware import Hardware
from areal_mesh.planning.lengths import ResponseLengths, with_mean
from areal_mesh.planning.step import training_seconds
from areal_mesh.planning.workload import Layout, Workload

_WARM_UP = 1
"""Steps left out at the beginning: kernels are compiled in them, and memory is first touched."""
_LEAST_HOST_SECONDS = 1e-4


class NothingMeasured(ValueError):
    """A run without the figures that a calibration needs."""


def measured_lengths(rows: Sequence[Mapping[str, Any]], limit: int, known: ResponseLengths) -> ResponseLengths:
    """Response lengths of a run's steps at a limit, with the spread of what is known."""
    values = [float(row["response_length"]) for row in rows if row.get("response_length")]
    if not values:
        raise NothingMeasured("no step has its response_length")
    mean = sum(values) / len(values)
    return with_mean(min(mean, 0.98 * limit), limit, known.spread)


def measured_constants(
    rows: Sequence[Mapping[str, Any]], work: Workload, layout: Layout, hardware: Hardware, start: Constants
) -> Constants:
    """The constants with which the model takes as long as the run did; what it does not tell stays as in `start`.

    Args:
        rows: of `metrics.jsonl`, of steps of the workload.

    Raises:
        NothingMeasured: no step says how long its update took.
    """
    steps = [row for row in rows[_WARM_UP:] if row.get("update_seconds")]
    if not steps:
        raise NothingMeasured(f"no step after the first {_WARM_UP} says its update_seconds; measure a longer run")
    update = _median([float(row["update_seconds"]) for row in steps])
    share = start.training_share * training_seconds(work, layout, hardware, start) / update
    rates = [float(row["generated_tokens_per_second"]) for row in steps if row.get("generated_tokens_per_second")]
    found = replace(start, training_share=share)
    return replace(found, host_seconds=_host_seconds(max(rates), work, layout, hardware, found)) if rates else found


def _host_seconds(rate: float, work: Workload, layout: Layout, hardware: Hardware, start: Constants) -> float:
    """What an iteration's host part has to be for engines to give as many tokens a second as the best step had."""
    running = layout.engines * _running(work, layout)
    modelled = running / stream_rate(work, layout, hardware, start)
    return max(_LEAST_HOST_SECONDS, start.host_seconds + running / rate - modelled)


def _running(work: Workload, layout: Layout) -> float:
    return min(work.max_sequences, work.sequences * (work.max_staleness + 1) / layout.engines)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
