"""Time to reward: the trial in the mesh and the same task in TRL's GRPOTrainer, in alternating runs.

Start model, prompts, response limit, temperature and grader are the same, and so is the measure: the mean over the last
512 completions of the run itself, all of problems not seen before, of which the share is right. The clock starts when
both have their model loaded and begin to generate. The mesh counts a batch when it is trained on and committed, and
all completions that may be under way by then besides; TRL when it is graded. In the mesh a response is cut off at its
stage's limit, in TRL at the last stage's.

    python -m benchmarks.learning [--seeds 1 2 3] [--trl 16x8@1e-4 ...] [--algorithms grpo ...] [--set KEY=VALUE ...]

`--trl` without a setting leaves TRL out, `--only-trl` the mesh; `--algorithms` adds runs of the mesh by algorithm.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from areal_mesh.controller.ledger import Ledger
from areal_mesh.runtime.settings import RunSettings, load_settings
from benchmarks.learning_curves import WINDOW, Batch, CpuClock, Reached, first_reached, middle
from benchmarks.meshrun import MeshRun, run_mesh, write_result
from benchmarks.trl_side import ROOT, TrlSetting, python_of_trl, run_trl

ACCURACIES = (0.5, 0.8, 0.9)
MESH = "mesh"
BEST_OF_TRL = "16x8@1e-4"
Curves = dict[str, list[dict[float, Reached | None]]]
"""By side, then seed, then accuracy."""


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments.add_argument("--preset", default="trial")
    arguments.add_argument("--set", dest="overrides", action="append", default=[], help="a setting of the mesh")
    arguments.add_argument("--trl", nargs="*", default=[BEST_OF_TRL], help="PROMPTSxRESPONSES@RATE[/UPDATES]")
    arguments.add_argument("--environment", type=Path, default=ROOT / ".cache" / "trl", help="where TRL is installed")
    arguments.add_argument("--algorithms", nargs="*", default=[], help="the mesh with these besides, by name")
    arguments.add_argument("--only-trl", action="store_true", help="leave the mesh out")
    options = arguments.parse_args()
    meshes = {} if options.only_trl else {MESH: tuple(options.overrides)}
    meshes |= {f"{MESH}, {name}": (*options.overrides, f"algorithm={name}") for name in options.algorithms}
    trl = [TrlSetting.parse(text) for text in options.trl]
    interpreter = python_of_trl(options.environment) if trl else Path()
    settings = load_settings(options.preset, options.overrides)
    prepare(options.preset, options.overrides)
    console = Console(record=True, width=120)
    curves: Curves = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in options.seeds:
            for index, (side, overrides) in enumerate(meshes.items()):
                curves[side].append(measure_mesh(options.preset, folder / f"{seed}-{index}", seed, overrides))
                _say(console, side, seed, curves)
            for setting in trl:
                curves[f"TRL {setting}"].append(measure_trl(interpreter, settings, setting, seed, folder))
                _say(console, f"TRL {setting}", seed, curves)
    console.print(table(curves))
    compared = figures(curves)
    for figure in compared:
        console.print(figure)
    if compared:
        write_result("learning", console)


def prepare(preset: str, overrides: Sequence[str]) -> None:
    """Make the start model and the prompts, if they are not there."""
    command = [str(Path(sys.executable).with_name("areal-mesh")), "prepare", preset]
    command += [word for override in overrides for word in ("--set", override)]
    subprocess.run(command, check=True, timeout=3600)


def measure_mesh(preset: str, folder: Path, seed: int, overrides: Sequence[str]) -> dict[float, Reached | None]:
    """One run of the mesh, through its whole schedule."""
    cpu = CpuClock()
    with cpu.running():
        run = run_mesh(preset, folder, "mesh", (f"seed={seed}", *overrides))
    began = next(iter(Ledger(run.directory / "ledger.db").publishes())).finished_at
    algorithm = load_settings(preset, overrides).algorithm
    under_way = algorithm.max_staleness * algorithm.batch_groups * algorithm.responses
    return _all_reached(batches_of(run), began, cpu, under_way)


def measure_trl(
    python: Path, settings: RunSettings, setting: TrlSetting, seed: int, folder: Path
) -> dict[float, Reached | None]:
    """One run of TRL, until the last accuracy is reached."""
    cpu = CpuClock()
    with cpu.running():
        began, batches = run_trl(python, settings, setting, seed, folder / "trl", ACCURACIES[-1], WINDOW)
    return _all_reached(batches, began, cpu, 0)


def batches_of(run: MeshRun) -> list[Batch]:
    """What each step of the mesh trained on."""
    return [
        Batch(step["committed_at"], int(step["responses"]), int(step["response_tokens"]), step["correct"])
        for step in run.steps
    ]


def _all_reached(batches: Sequence[Batch], began: float, cpu: CpuClock, under_way: int) -> dict[float, Reached | None]:
    found: dict[float, Reached | None] = {}
    for accuracy in ACCURACIES:
        reached = first_reached(batches, accuracy, began, cpu)
        if reached is not None and under_way:
            more = (reached.completions + under_way) / reached.completions
            reached = Reached(reached.seconds, reached.cpu_seconds, reached.completions * more, reached.tokens * more)
        found[accuracy] = reached
    return found


def table(curves: Curves) -> Table:
    """Medians over the seeds, a row a side and accuracy."""
    rows = Table("run", "accuracy", "seconds", "CPU-seconds", "completions", "tokens", title="median over seeds")
    for side, seeds in curves.items():
        for accuracy in ACCURACIES:
            found = middle([seed[accuracy] for seed in seeds])
            rows.add_row(side, f"{accuracy}", *_cells(found))
    return rows


def figures(curves: Mapping[str, Sequence[Mapping[float, Reached | None]]]) -> list[str]:
    """The mesh over the best of TRL's settings, to the last accuracy; nothing where one of them never got there."""
    ends = {side: middle([seed[ACCURACIES[-1]] for seed in seeds]) for side, seeds in curves.items()}
    mesh = ends.get(MESH)
    there = [reached for side, reached in ends.items() if side.startswith("TRL") and reached is not None]
    if mesh is None or not there:
        return []
    return [
        f"figure: seconds_over_trl {mesh.seconds / min(each.seconds for each in there):.3f}",
        f"figure: completions_over_trl {mesh.completions / min(each.completions for each in there):.3f}",
    ]


def _cells(found: Reached | None) -> tuple[str, ...]:
    if found is None:
        return ("not reached", "", "", "")
    return (f"{found.seconds:.1f}", f"{found.cpu_seconds:.0f}", f"{found.completions:,.0f}", f"{found.tokens:,.0f}")


def _say(console: Console, side: str, seed: int, curves: Curves) -> None:
    cells = (f"{accuracy} {'/'.join(_cells(found))}" for accuracy, found in curves[side][-1].items())
    console.print(f"{side}, seed {seed} (accuracy seconds/CPU-seconds/completions/tokens): {'; '.join(cells)}")


if __name__ == "__main__":
    main()
