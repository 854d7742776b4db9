"""``python -m areal_mesh.recipes.arithmetic``: make the trial's model folder and its prompt file."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from areal_mesh.recipes.arithmetic.choices import Progress
from areal_mesh.recipes.arithmetic.folder import make_model
from areal_mesh.recipes.arithmetic.problems import write_prompts
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.made import NotMadeHere, made_from
from areal_mesh.runtime.output import lasting_output

PLAIN_LINE_STEPS = 50


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the arithmetic policy and its prompts; what is there already is left as it is."""
    parser = argparse.ArgumentParser(prog="python -m areal_mesh.recipes.arithmetic", description=main.__doc__)
    parser.add_argument("--model-folder", type=Path, required=True, help="folder to make; reused when it is there")
    parser.add_argument("--prompts", type=Path, help="prompt file (JSONL) to write; left out: none")
    parser.add_argument("--problems", type=int, default=1, help="number of problems")
    parser.add_argument("--seed", type=int, required=True, help="seed of the weights and of the prompts")
    options = parser.parse_args(arguments)
    if options.problems < 1:
        parser.error(f"--problems is {options.problems}: it has to be at least 1")
    console = Console()
    began = time.monotonic()
    make = _make_with_bar if console.is_terminal else _make_plainly
    try:
        # Before anything is written or trained.
        made_from(options.model_folder)
        if options.prompts is not None:
            written = write_prompts(options.prompts, options.problems, prompt_seed(options.seed))
            found = "written" if written else "already there"
            console.print(f"prompts: {options.prompts} ({options.problems}, {found})", soft_wrap=True)
        made = make(console, options.model_folder, options.seed)
    except NotMadeHere as error:
        parser.exit(EXIT_CANNOT_START, f"error: {error}\n")
    how = f"made in {time.monotonic() - began:.0f} s" if made else "already there"
    console.print(f"model: {options.model_folder} ({how})", soft_wrap=True)


def prompt_seed(seed: int) -> int:
    """Seed of the prompt file: not the one whose problems the warm start shows."""
    return seed + 1_000_000


def _make_with_bar(console: Console, folder: Path, seed: int) -> bool:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("warm start")

        def show(progress: Progress) -> None:
            bars.update(
                task, total=progress.steps, completed=progress.step, description=f"warm start, loss {progress.loss:.3f}"
            )

        return make_model(folder, seed, on_progress=show)


def _make_plainly(console: Console, folder: Path, seed: int) -> bool:
    def show(progress: Progress) -> None:
        if progress.step % PLAIN_LINE_STEPS == 0 or progress.step == progress.steps:
            line = f"warm start: step {progress.step} of {progress.steps}, loss {progress.loss:.3f}"
            console.print(line, soft_wrap=True, highlight=False)

    return make_model(folder, seed, on_progress=show)


if __name__ == "__main__":
    with lasting_output():
        main()
