"""`areal-mesh up PRESET --simulate`: a preset's whole schedule with simulated generators and a simulated learner.

Controller, ledger, publisher and replay buffer are the real ones, under the preset's own stages, algorithm and bounds.
What a step takes is what `areal-mesh plan` says of it, compressed; what it is made of are lengths of responses, and
those that are cut off are wrong. A batch is as small a share of the preset's as gets through the schedule in minutes.
"""

import json
import math
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.plan_model import known_lengths, prompt_count, shape_for
from areal_mesh.cli.report import files_line, print_table
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.simulate import write_prompts
from areal_mesh.cli.simulated_figures import show
from areal_mesh.cli.simulated_run import SHORTEST_HEARTBEAT, free_port, run_plan
from areal_mesh.cli.view import counted
from areal_mesh.planning.generation import iteration_seconds
from areal_mesh.planning.hardware import HARDWARE
from areal_mesh.planning.published import HARDWARE as PLANNED_FOR
from areal_mesh.planning.rows import Assumptions, constants_of, workload
from areal_mesh.planning.step import step_time
from areal_mesh.planning.workload import Layout
from areal_mesh.runtime.run_files import keep_settings
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings
from areal_mesh.simulation.lengths import Lengths
from areal_mesh.simulation.plan import Plan

_GROUPS = 20_000
"""Of a whole run: a core takes some hundred a second through controller and replay buffer."""
_LEAST_BATCH = 4
_LEAST_PROMPTS = 100
_REAL_SECONDS = 0.1
"""That a step is compressed to; what the services themselves take comes on top."""
_PROGRESS_SECONDS = 5.0
_OWN = "simulated"
_UNKNOWN_TOKEN, _UNKNOWN_STEP = 0.02, 60.0
"""Of a model whose shape is not known here."""


def simulate_preset(source: str, overrides: Sequence[str]) -> int:
    """Goes through the schedule; prints the run's table and what the services took; returns the exit code.

    Raises:
        CommandFailed: the settings do not hold, the directory is another run's, or a service ended before the run did.
    """
    wanted = resolved(source, overrides)
    settings = _written(wanted)
    folder = settings.run_directory
    plan = _plan(wanted, settings)
    batch, full = settings.algorithm.batch_groups, wanted.algorithm.batch_groups
    smaller = f" in place of {full:,}" if batch < full else ""
    print(
        f"{settings.name}: {counted(plan.generators, 'simulated generator')} and a simulated learner, "
        f"{settings.planned_steps} steps at most of {batch} groups{smaller}, {plan.speed:,.0f} times the planned speed",
        file=sys.stderr,
    )
    watch = run_plan(plan, settings, folder / _OWN / "run.json", _PROGRESS_SECONDS)
    print_table(folder)
    show(watch)
    print(files_line(folder))
    return 0


def _written(wanted: RunSettings) -> RunSettings:
    """The settings of the simulated run, written into a directory of its own with made-up prompts."""
    name = f"{wanted.name}-simulated"
    folder = wanted.directory / name
    if folder.exists():
        if any(folder.iterdir()) and not (folder / _OWN / "run.json").is_file():
            raise CommandFailed(f"{folder}: holds what no simulation left; move it, or set another name or directory")
        shutil.rmtree(folder)
    own = folder / _OWN
    own.mkdir(parents=True)
    values = _simulated(wanted, name)
    # As large a share of an epoch as a step of the preset is.
    share = values["algorithm"]["batch_groups"] / wanted.algorithm.batch_groups
    prompts = write_prompts(own / "prompts.jsonl", max(_LEAST_PROMPTS, round(prompt_count(wanted) * share)))
    values["prompts"] |= {"file": str(prompts), "count": 0}
    file = own / "run.json"
    file.write_text(json.dumps(values, indent=2), encoding="utf-8")
    try:
        settings = load_settings(str(file))
    except SettingsError as error:
        raise CommandFailed(f"the simulated run's settings do not hold: {'; '.join(error.faults)}") from error
    # By this a directory is known to be a run's.
    keep_settings(folder, settings.model_dump(mode="json"))
    return settings


def _simulated(wanted: RunSettings, name: str) -> dict[str, Any]:
    """The preset's settings with what a simulation has otherwise."""
    values: dict[str, Any] = wanted.model_dump(mode="json")
    full = wanted.algorithm.batch_groups
    share = max(1.0, wanted.planned_steps * full / _GROUPS)
    least = max(_LEAST_BATCH, math.ceil(wanted.algorithm.minibatches / wanted.algorithm.responses))
    values["name"] = name
    values["model"]["recipe"] = "none"
    values["algorithm"]["batch_groups"] = min(full, max(least, round(full / share)))
    values["controller"] |= {
        "listen": f"127.0.0.1:{free_port()}",
        "heartbeat_seconds": SHORTEST_HEARTBEAT,
        "lease_seconds": 10.0,
    }
    values["replay"] |= {
        "listen": "127.0.0.1:0",
        "durability": "none",
        "segment_bytes": 64 << 20,
        "patience_seconds": 5.0,
    }
    # A simulated engine takes one rank of a broadcast.
    values["generator"] |= {"tensor_parallel_size": 1, "data_parallel_size": 1}
    for role in ("controller", "replay"):
        # On one machine, where a port that each has in a container of its own is one.
        port = None if values[role]["metrics_port"] is None else 0
        values[role] |= {"advertise": "", "cores": None, "metrics_port": port}
    return values


def _plan(wanted: RunSettings, settings: RunSettings) -> Plan:
    """How the members work, as they would at the preset's full batch."""
    lengths, algorithm = known_lengths(wanted), settings.algorithm
    token, training, whole = _times(wanted)
    generators = wanted.generator.services
    bound = (algorithm.max_staleness + 1) * algorithm.batch_groups
    spread = lengths.spread / math.sqrt(2)
    return Plan(
        generators=generators,
        groups_in_flight=math.ceil(bound / generators),
        token_seconds=token,
        step_seconds=training,
        batch_groups=algorithm.batch_groups,
        max_staleness=algorithm.max_staleness,
        steps=settings.planned_steps,
        speed=max(1.0, whole / _REAL_SECONDS),
        payload_tokens=1,
        lengths=Lengths(algorithm.responses, wanted.longest_response, lengths.median, spread, spread, wanted.seed),
    )


def _times(wanted: RunSettings) -> tuple[float, float, float]:
    """Seconds of a token, of an update and of a whole step in the longest stage, by the plan's model."""
    try:
        shape = shape_for(wanted)
    except CommandFailed:
        return _UNKNOWN_TOKEN, _UNKNOWN_STEP, _UNKNOWN_STEP
    stage = max(range(len(wanted.stages)), key=lambda number: wanted.stages[number].max_response_tokens)
    assumed = Assumptions(
        shape, known_lengths(wanted), HARDWARE[PLANNED_FOR], constants_of(wanted), 8, 1, 1.0, stage, None
    )
    engine = wanted.generator.tensor_parallel_size
    layout = Layout(max(engine, wanted.generator.gpu_count), wanted.learner.ranks, engine)
    work = workload(wanted, assumed, stage)
    time = step_time(work, layout, assumed.hardware, assumed.constants)
    mean = work.lengths.mean(work.limit)
    token = iteration_seconds(work, layout, assumed.hardware, assumed.constants, work.max_sequences, mean)
    return token, time.training, time.seconds
