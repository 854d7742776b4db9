"""`areal-mesh plan`: what a run will take, from its settings and the data sheets of GPUs."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.plan_figure import draw_hours
from areal_mesh.cli.plan_model import known_lengths, prompt_count, shape_for
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.tables import print_wide
from areal_mesh.planning.calibration import Constants
from areal_mesh.planning.hardware import HARDWARE
from areal_mesh.planning.layouts import published_layout
from areal_mesh.planning.lengths import with_mean
from areal_mesh.planning.measured import NothingMeasured, measured_constants, measured_lengths
from areal_mesh.planning.rows import (
    Assumptions,
    PlanRow,
    calibration_of,
    constants_of,
    plan_rows,
    planned_stage,
    workload,
)
from areal_mesh.planning.workload import Layout
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.views.rows import read_rows
from areal_mesh.views.run_views import METRICS_FILE

_EXIT_USAGE = 2


@dataclass(frozen=True)
class PlanOptions:
    """What the command was asked for."""

    nodes: list[int]
    gpus_per_node: int
    hardware: str
    stage: str
    epochs: float
    prompts: int | None
    split: tuple[int, int] | None
    mean_length: float | None
    calibrate: str
    figure: int | None
    to: str
    as_json: bool


def plan(source: str, overrides: Sequence[str], options: PlanOptions) -> None:
    """Prints a row for each number of nodes, and what the figures rest on.

    Raises:
        CommandFailed: the settings do not hold, the model's shape is not known, or there are too few GPUs.
    """
    settings = resolved(source, overrides)
    assumed, constants = _assumptions(settings, options)
    try:
        rows = list(plan_rows(settings, assumed, options.nodes))
    except ValueError as error:
        raise CommandFailed(f"{source}: {error}; raise --nodes or --gpus", _EXIT_USAGE) from error
    if options.figure is not None:
        draw_hours(rows, settings, Path(options.to))
    if options.as_json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
        return
    print_wide(_table(rows))
    print("\n".join(_notes(settings, assumed, constants, options)))


def _assumptions(settings: RunSettings, options: PlanOptions) -> tuple[Assumptions, str]:
    """What the plan rests on, and where its constants come from."""
    if options.hardware not in HARDWARE:
        raise CommandFailed(f"--hardware {options.hardware}: choose {', '.join(HARDWARE)}", _EXIT_USAGE)
    if not 0 < options.epochs < math.inf:
        raise CommandFailed(f"--epochs {options.epochs}: give a number over 0", _EXIT_USAGE)
    stage = _stage(settings, options.stage)
    limit = settings.stages[stage].max_response_tokens
    lengths = known_lengths(settings)
    if options.mean_length is not None:
        try:
            lengths = with_mean(options.mean_length, limit, lengths.spread)
        except ValueError as error:
            raise CommandFailed(f"--mean-length: {error}", _EXIT_USAGE) from error
    assumed = Assumptions(
        shape=shape_for(settings),
        lengths=lengths,
        hardware=HARDWARE[options.hardware],
        constants=constants_of(settings),
        gpus_per_node=options.gpus_per_node,
        prompts=options.prompts or prompt_count(settings),
        epochs=options.epochs,
        stage=stage,
        split=options.split,
    )
    if not options.calibrate:
        return assumed, f"those of {calibration_of(settings)}; a run that was measured gives its own by --calibrate"
    return _calibrated(settings, assumed, options), f"measured in {options.calibrate}"


def _calibrated(settings: RunSettings, assumed: Assumptions, options: PlanOptions) -> Assumptions:
    """The same with what a run of these settings showed of its first stage."""
    rows = [row for row in read_rows(Path(options.calibrate) / METRICS_FILE) if row.get("stage", 0) == 0]
    engine, limit = settings.generator, settings.stages[0].max_response_tokens
    layout = Layout(max(1, engine.gpu_count), settings.learner.ranks, engine.tensor_parallel_size)
    try:
        lengths = measured_lengths(rows, limit, assumed.lengths)
        work = replace(workload(settings, assumed, 0), lengths=lengths)
        constants: Constants = measured_constants(rows, work, layout, assumed.hardware, assumed.constants)
    except NothingMeasured as error:
        raise CommandFailed(f"--calibrate {options.calibrate}: {error}") from error
    return replace(assumed, lengths=lengths, constants=constants)


def _stage(settings: RunSettings, name: str) -> int:
    names = [stage.name for stage in settings.stages]
    if name and name not in names:
        raise CommandFailed(f"--stage {name}: choose {', '.join(names)}", _EXIT_USAGE)
    return names.index(name) if name else planned_stage(settings)


def _table(rows: Sequence[PlanRow]) -> Table:
    table = Table()
    table.add_column("nodes", justify="right")
    table.add_column("GPUs to generate/train")
    for title in ("step", "generation", "training", "publishing", "tokens/s", "hours", "schedule, hours"):
        table.add_column(title, justify="right")
    table.add_column("bottleneck")
    table.add_column("best split", justify="right")
    table.add_column("its hours", justify="right")
    for row in rows:
        step, best = row.step, row.best
        table.add_row(
            f"{row.nodes}",
            str(row.layout),
            f"{step.seconds:,.0f} s",
            f"{step.generation:,.0f} s",
            f"{step.training:,.0f} s",
            f"{step.publishing:,.1f} s",
            f"{step.tokens_per_second:,.0f}",
            f"{row.hours:,.0f}",
            f"{row.schedule_hours:,.0f}",
            step.bottleneck,
            f"{best.generation_gpus}/{best.training_gpus}" if best else "-",
            f"{row.best_hours:,.0f}" if row.best_hours is not None else "-",
        )
    return table


def _notes(settings: RunSettings, assumed: Assumptions, constants: str, options: PlanOptions) -> list[str]:
    plan = settings.stages[assumed.stage]
    limit, lengths, found = plan.max_response_tokens, assumed.lengths, assumed.constants
    first = published_layout(2 * assumed.gpus_per_node, assumed.gpus_per_node, 1, settings.algorithm.max_staleness > 0)
    rule = "AReaL's allocation" if options.split is None else "--split"
    cpu = "cpu" in (settings.generator.device, settings.learner.device)
    return [
        *(["these settings are for CPUs: what follows is what GPUs would take"] if cpu else []),
        f"hours: {assumed.epochs:g} epochs of {assumed.prompts:,} prompts at the limit of stage {plan.name}, {limit:,} "
        f"tokens; responses of {lengths.mean(limit):,.0f} tokens on average, {lengths.over(limit):.1%} cut off",
        f"schedule: {settings.planned_steps} steps at most, responses as long as before training",
        f"GPUs: {options.hardware}, {rule}"
        + (f" ({first.generation_gpus}/{first.training_gpus} on two nodes)" if options.split is None else ""),
        f"constants: {constants}; {found.host_seconds * 1e3:.1f} ms an iteration, {found.training_share:.1%} of the "
        f"GPUs' operations in training, {found.fixed_seconds:.0f} s a step in turn",
    ]
