"""A training step of the learner beside the same step padded, and beside TRL's GRPOTrainer, in alternating rounds.

    python -m benchmarks.learner [--rounds N] [--threads N] [--set KEY=VALUE ...]

One batch of real rollouts: the trial's start model answers the first prompts of its file. Every side trains on all of
it with as many updates and the same threads. `packed` is the whole of the trainer's step, from checking the batch to
the last update; `padded` the plain way: minibatches in random order, each padded to its longest sequence, whole logits,
the same loss and AdamW; `TRL` its trainer's step with sampling left out, in an environment of its own. Tokens are those
of prompts and responses, without padding. `packed, silent left out` is the step as the trial takes it, in which
responses without an advantage cost no pass.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from rich.console import Console
from rich.table import Table

from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import RunSettings, load_settings
from benchmarks.learner_padded import PaddedStep
from benchmarks.learner_rollouts import Rollout, sample
from benchmarks.learning import prepare
from benchmarks.meshrun import write_result
from benchmarks.trl_side import ROOT, python_of_trl, trl_environment

PACKED, PADDED, SILENT, TRL = "packed", "padded", "packed, silent left out", "TRL"
_TRL_LOSSES = {"cispo": "cispo"}
_SECONDS = 300.0


def main() -> None:
    """Prints the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting of the trial")
    parser.add_argument("--environment", type=Path, default=ROOT / ".cache" / "trl", help="where TRL is installed")
    options = parser.parse_args()
    # The same optimizer on every side.
    common = ["algorithm.advantage.type=grpo", "learner.muon=none", f"learner.threads={options.threads}"]
    common += options.overrides
    settings = load_settings("trial", common)
    prepare("trial", common)
    algorithm = settings.algorithm
    batch, rollouts = sample(settings, algorithm.batch_groups, algorithm.responses)
    every = Trainer(load_settings("trial", [*common, "algorithm.update_on_equal_rewards=true"]))
    loud, padded = Trainer(settings), PaddedStep(settings)
    advantages = torch.tensor([each.advantage for each in rollouts])
    with trl_steps(python_of_trl(options.environment), settings, rollouts, options.threads) as trl:
        sides = {
            PACKED: timed(lambda: every.step(batch)),
            PADDED: timed(lambda: padded.step(batch, advantages)),
            TRL: trl,
            SILENT: timed(lambda: loud.step(batch)),
        }
        # The first round pays for memory touched first.
        rounds = [{side: step() for side, step in sides.items()} for _ in range(options.rounds + 1)][1:]
    tokens = int(batch.sequence_lengths.sum())
    silent = sum(each.advantage == 0 for each in rollouts) / len(rollouts)
    console = Console(width=110, record=True)
    title = f"{len(batch)} responses, {tokens} tokens, {algorithm.minibatches} updates; {silent:.0%} without advantage"
    table = Table("side", "seconds a step", "tokens/s", "packed over it", title=title)
    for side in sides:
        seconds = statistics.median(each[side] for each in rounds)
        table.add_row(side, f"{seconds:.3f}", f"{tokens / seconds:,.0f}", f"{_ratio(rounds, side):.2f}")
    console.print(table)
    console.print(f"figure: packed_over_padded {_ratio(rounds, PADDED):.3f}")
    console.print(f"figure: packed_over_trl {_ratio(rounds, TRL):.3f}")
    write_result("learner", console)


def timed(step: Callable[[], object]) -> Callable[[], float]:
    """The step, giving its seconds."""

    def run() -> float:
        begin = time.perf_counter()
        step()
        return time.perf_counter() - begin

    return run


@contextmanager
def trl_steps(
    python: Path, settings: RunSettings, rollouts: list[Rollout], threads: int
) -> Iterator[Callable[[], float]]:
    """A step of TRL's trainer, giving its seconds; the process that takes it ends with the context."""
    algorithm = settings.algorithm
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "trl.err").open("w+") as errors:
        given = Path(folder) / "rollouts.json"
        given.write_text(json.dumps([asdict(each) for each in rollouts]))
        values = {
            "model": settings.model.folder,
            "rollouts": given,
            "folder": folder,
            "updates": algorithm.minibatches,
            "responses": algorithm.responses,
            "threads": threads,
            "loss": _TRL_LOSSES.get(algorithm.loss.type, "grpo"),
        }
        command = [str(python), str(Path(__file__).with_name("trl_step.py"))]
        command += [word for name, value in values.items() for word in (f"--{name}", str(value))]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        process = subprocess.Popen(command, text=True, env=trl_environment(), **pipes)
        try:
            yield partial(_one_step, process, errors)
        finally:
            process.kill()
            process.wait(_SECONDS)


def _one_step(process: "subprocess.Popen[str]", errors: IO[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith('{"'):
            return float(json.loads(line)["seconds"])
    errors.seek(0)
    raise RuntimeError(f"TRL ended:\n{errors.read()[-4000:]}")


def _ratio(rounds: list[dict[str, float]], side: str) -> float:
    return statistics.median(each[side] / each[PACKED] for each in rounds)


if __name__ == "__main__":
    main()
