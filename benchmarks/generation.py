"""Tokens a second of generator, verifier and append, over those of vLLM's own offline `LLM.generate`.

    python -m benchmarks.generation [--shape trial|100m] [--rounds N]

On two cores. Rounds alternate: the mesh generates, grades and stores a batch, drawn when it is whole; then
`LLM.generate` answers the same requests: the same prompts, seeds, sampling parameters (log-probabilities of the drawn
tokens among them), engine arguments and weights, and so the same tokens, which the table shows. Of the mesh everything
counts, from the end of one publish to the last group of the batch: leases, tokens, texts, grading, the durable append,
the choice of the batch. The figure is the median over the rounds of a round's mesh over its neighbour in time, for a
machine with neighbours is slow or fast for seconds together.

Each shape has the cores as it needs them. The trial's model is so small that Python is all of its time: the engine has
one core, and the generator's own Python, verifier, replay buffer and controller the other. `LLM` is one process, and
is measured on one core and with threads on both; the better one counts. A model of 113 million parameters is bound by
its kernels, which have both cores in the mesh as in `LLM`.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from areal_mesh.generator.tokenizer import load_tokenizer
from areal_mesh.recipes.arithmetic.__main__ import main as make_recipe
from areal_mesh.recipes.arithmetic.__main__ import prompt_seed
from areal_mesh.recipes.arithmetic.choices import ModelShape
from areal_mesh.recipes.arithmetic.problems import write_prompts
from areal_mesh.runtime.end_tokens import end_token_ids
from areal_mesh.runtime.settings import RunSettings, load_settings
from benchmarks.generation_mesh import mesh
from benchmarks.generation_offline import Done, offline
from benchmarks.meshrun import free_port, write_result

_PRESET = "trial"
_PROBLEMS = 20000
_OTHER_CORE = 1
_NICENESS = 10
_RESPONSES = 4


@dataclass(frozen=True)
class Shape:
    """What is measured: a model, how it has the cores, and how large a round is."""

    groups: int
    max_sequences: int
    max_response_tokens: int
    engine_cores: tuple[int, ...]
    offline_cores: tuple[tuple[int, ...], ...]
    model: ModelShape | None = None
    """With weights from a seed; None is the trial's own model."""


SHAPES = {
    "trial": Shape(
        groups=384, max_sequences=128, max_response_tokens=80, engine_cores=(0,), offline_cores=((0,), (0, 1))
    ),
    "100m": Shape(
        groups=24,
        max_sequences=32,
        max_response_tokens=40,
        engine_cores=(0, 1),
        offline_cores=((0, 1),),
        model=ModelShape(layers=12, hidden_size=768, intermediate_size=3072, attention_heads=12, key_value_heads=12),
    ),
}


@dataclass(frozen=True)
class Measured:
    """All rounds of one shape, the first left out: it pays for memory touched first."""

    shape: str
    mesh: list[Done]
    offline: dict[tuple[int, ...], list[Done]]

    @property
    def figure(self) -> float:
        """Median over the rounds of the mesh's rate over that of the better `LLM.generate`, see the module."""
        return min(_ratio(self.mesh, done) for done in self.offline.values())


def _ratio(ours: list[Done], theirs: list[Done]) -> float:
    return statistics.median(mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True))


def _rate(rounds: list[Done]) -> float:
    return statistics.median(done.rate for done in rounds)


def overrides_of(shape: Shape, folder: Path) -> list[str]:
    """The trial with a batch as large as a round, and its services where the shape wants them."""
    overrides = [
        "name=generation",
        f"directory={folder}",
        f"controller.listen=127.0.0.1:{free_port()}",
        f'stages=[{{name="one",max_response_tokens={shape.max_response_tokens},max_steps=1000}}]',
        f"generator.max_sequences={shape.max_sequences}",
        f"algorithm.batch_groups={shape.groups}",
        f"algorithm.responses={_RESPONSES}",
        "algorithm.max_staleness=0",
        "generator.cores=[0,1]",
        f"generator.engine_cores={list(shape.engine_cores)}",
    ]
    # What stands beside the engine stands back: a kernel ends when the core that was taken from it does.
    for role in ("controller", "verifier", "replay"):
        overrides += [f"{role}.cores=[{_OTHER_CORE}]", f"{role}.niceness={_NICENESS}"]
    if shape.model is not None:
        overrides += ["model.recipe=none", f"model.folder={folder / 'model'}"]
    return overrides


def make_what_is_needed(shape: Shape, settings: RunSettings) -> None:
    """The model and the prompts, where they are not there yet."""
    trial = load_settings(_PRESET)
    if shape.model is None:
        folder = ["--model-folder", str(trial.model.folder), "--prompts", str(trial.prompts.file)]
        make_recipe([*folder, "--problems", str(_PROBLEMS), "--seed", str(trial.seed)])
        return
    from areal_mesh.recipes.arithmetic.model import build_model
    from areal_mesh.recipes.arithmetic.tokenizer import build_tokenizer

    write_prompts(trial.prompts.file, _PROBLEMS, prompt_seed(trial.seed))
    tokenizer = build_tokenizer()
    build_model(tokenizer, shape.model, trial.seed).save_pretrained(settings.model.folder)
    tokenizer.save_pretrained(settings.model.folder)


async def measure(name: str, rounds: int, folder: Path) -> Measured:
    """Alternating rounds of one shape."""
    shape = SHAPES[name]
    overrides = overrides_of(shape, folder)
    settings = load_settings(_PRESET, overrides)
    make_what_is_needed(shape, settings)
    tokenizer = load_tokenizer(settings.model.folder)
    ends = end_token_ids(settings.model.folder, tokenizer.eos_token_id, settings.model.end_token_ids)
    ours: list[Done] = []
    theirs: dict[tuple[int, ...], list[Done]] = {cores: [] for cores in shape.offline_cores}
    async with contextlib.AsyncExitStack() as stack:
        # What the next shape's services inherit.
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        # All start at once; the round before the first goes by meanwhile.
        run = await stack.enter_async_context(mesh(_PRESET, overrides, settings, folder))
        engines = {}
        for cores in shape.offline_cores:
            engines[cores] = await asyncio.to_thread(stack.enter_context, offline(settings, cores, ends))
        os.sched_setaffinity(0, {_OTHER_CORE})
        for number in range(rounds + 1):
            requests, done = await run.generate()
            ours.append(done)
            for cores, engine in engines.items():
                theirs[cores].append(await asyncio.to_thread(engine.generate, requests))
            print(f"{name}, round {number}:", done, theirs, flush=True)
            if number < rounds:
                await run.commit()
    return Measured(name, ours[1:], {cores: done[1:] for cores, done in theirs.items()})


def table_of(measured: list[Measured]) -> Table:
    """A row a side."""
    table = Table("shape", "side", "cores", "tokens/s, median", "all rounds", "tokens", "mesh / LLM")
    for one in measured:
        cores = f"engine {list(SHAPES[one.shape].engine_cores)}, all [0, 1]"
        sides = [("mesh", cores, one.mesh)]
        sides += [("LLM.generate", str(list(cores)), done) for cores, done in one.offline.items()]
        for side, cores, rounds in sides:
            rates = " ".join(f"{done.rate:.0f}" for done in rounds)
            over = _ratio(one.mesh, rounds)
            tokens = str(sum(done.tokens for done in rounds))
            table.add_row(one.shape, side, cores, f"{_rate(rounds):.0f}", rates, tokens, f"{over:.2f}")
    return table


def main() -> None:
    """Prints the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=sorted(SHAPES), help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    # What was started is ended when this is.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    measured = []
    for name in arguments.shape or SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            measured.append(asyncio.run(measure(name, arguments.rounds, Path(folder))))
    console = Console(width=140, record=True)
    console.print(table_of(measured))
    for one in measured:
        console.print(f"figure: mesh_over_engine_{one.shape} {one.figure:.3f}")
    console.print(f"figure: mesh_over_engine {min(one.figure for one in measured):.3f}")
    write_result("generation", console)


if __name__ == "__main__":
    main()
