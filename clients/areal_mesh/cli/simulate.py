"""`areal-mesh simulate`: the real controller and replay buffer under simulated generators and a simulated learner."""

import json
import tempfile
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.simulated_figures import as_json, show
from areal_mesh.cli.simulated_run import SHORTEST_HEARTBEAT, free_port, run_plan
from areal_mesh.runtime.settings import SettingsError, load_settings
from areal_mesh.simulation.plan import Plan

_PROMPTS = 10_000
_RUN_NAME = "simulated"


def simulate(plan: Plan, as_object: bool, progress_seconds: float) -> None:
    """Runs a plan to its end; prints how it goes on standard error, and one table, or one JSON object, at the end.

    Raises:
        CommandFailed: the settings do not hold, or a service ended before the run did.
    """
    with tempfile.TemporaryDirectory(prefix="areal-mesh-simulate-") as folder:
        file = write_run(Path(folder), plan)
        try:
            settings = load_settings(str(file))
        except SettingsError as error:
            raise CommandFailed(f"the simulated run's settings do not hold: {'; '.join(error.faults)}") from error
        watch = run_plan(plan, settings, file, progress_seconds)
    if as_object:
        print(json.dumps(as_json(watch)))
    else:
        show(watch)


def write_run(folder: Path, plan: Plan) -> Path:
    """Writes a plan's run into an empty folder: its settings, made-up prompts; returns the settings' file."""
    prompts = write_prompts(folder / "prompts.jsonl", _PROMPTS)
    lengths = plan.lengths
    settings = {
        "name": _RUN_NAME,
        "directory": str(folder),
        "model": {"folder": str(folder)},
        "prompts": {"file": str(prompts)},
        "stages": [{"name": "simulated", "max_response_tokens": lengths.limit, "max_steps": plan.steps}],
        "algorithm": {
            "batch_groups": plan.batch_groups,
            "responses": lengths.responses,
            "max_staleness": plan.max_staleness,
            "minibatches": 1,
        },
        "controller": {
            "listen": f"127.0.0.1:{free_port()}",
            "heartbeat_seconds": max(SHORTEST_HEARTBEAT, min(1.0, plan.real(1.0))),
        },
        # A week of simulated groups is to test the services, not the disk.
        "replay": {"listen": "127.0.0.1:0", "durability": "none", "patience_seconds": plan.real(600.0)},
    }
    file = folder / "run.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file


def write_prompts(file: Path, count: int) -> Path:
    """Writes so many made-up problems; returns the file."""
    lines = ({"id": f"p{number}", "problem": f"{number} + 1?", "answer": str(number + 1)} for number in range(count))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file
