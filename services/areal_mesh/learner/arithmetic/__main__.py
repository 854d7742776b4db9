"""``python -m areal_mesh.learner.arithmetic``: make the trial's model folder and its prompt file."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from areal_mesh.learner.arithmetic.folder import make_model
from areal_mesh.learner.arithmetic.problems import write_prompts
from areal_mesh.learner.arithmetic.warm_start import Progress

PLAIN_LINE_STEPS = 50


def main(
    model_folder: Annotated[Path, typer.Option(help="Hugging Face folder to make; reused when it is there already.")],
    prompts: Annotated[Path, typer.Option(help="Prompt file (JSONL) to write.")],
    prompt_count: Annotated[int, typer.Option(min=1, help="Number of prompts.")] = 4096,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the prompts.")] = 1,
) -> None:
    """Make the arithmetic policy and its prompts; what is there already is left as it is."""
    console = Console()
    written = write_prompts(prompts, prompt_count, prompt_seed(seed))
    console.print(f"prompts: {prompts} ({prompt_count}, {'written' if written else 'already there'})", soft_wrap=True)
    began = time.monotonic()
    make = _make_with_bar if console.is_terminal else _make_plainly
    try:
        made = make(console, model_folder, seed)
    except FileExistsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    how = f"made in {time.monotonic() - began:.0f} s" if made else "already there"
    console.print(f"model: {model_folder} ({how})", soft_wrap=True)


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
    typer.run(main)
