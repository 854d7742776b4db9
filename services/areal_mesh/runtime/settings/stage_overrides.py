"""What a stage sets otherwise than the run: settings of the learner and of sampling, by their own names."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Section = TypeVar("Section", bound=BaseModel)
Value = bool | int | float | str
Overrides = dict[str, Value]

FOR_A_RUN = frozenset(
    {
        "listen",
        "advertise",
        "cores",
        "gpus",
        "niceness",
        "metrics_port",
        "drain_seconds",
        "device",
        "ranks",
        "hosts",
        "rendezvous",
        "sharding",
        "lost_rank_seconds",
        "threads",
        "lora",
        "muon",
        "end_rate_share",
        "loss_scale",
        "checkpoint_every",
        "checkpoints_kept",
        "export_every",
        "draw_seconds",
        "mismatch_alarm",
        "mismatch_stop",
    }
)
"""Settings of the learner that no stage changes: where it runs, what it keeps, and what spans the whole schedule."""
SAMPLING = frozenset({"temperature"})
"""Settings of the algorithm that a stage may change: how responses are sampled."""


def overridden(section: Section, overrides: Mapping[str, Value], allowed: frozenset[str], name: str) -> Section:
    """The section with a stage's settings in it, which the stage has under `name`.

    Raises:
        ValueError: a key that no stage may set, or a value that the section does not take; says which.
    """
    for key in overrides:
        if key not in allowed:
            raise ValueError(f"{name}.{key}: no stage sets it; a stage may set {', '.join(sorted(allowed))}")
    if not overrides:
        return section
    try:
        return type(section).model_validate({**section.model_dump(), **overrides})
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}.{key}: {message} (got {overrides.get(key)!r})") from error
