"""What evaluation during training costs, and whether its figures are those of the same versions after the end.

Runs of the trial with and without evaluation, in turn, and within the former: the two steps after the start of each
evaluation beside the steps around them, which a machine with other work on it disturbs less. Then every version that
was evaluated is examined again by `areal-mesh eval`, and each response compared with the one that the run kept. On
problems that no run trains on.

    python -m benchmarks.evaluation [--every 20] [--problems 32] [--repeats 2]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from areal_mesh.evaluation.responses import read_responses
from areal_mesh.recipes.arithmetic.problems import write_prompts
from benchmarks.meshrun import MeshRun, run_mesh, write_result

_WARM_STEPS = 4
_SEED = 77_000_000
"""Of the problems: neither the prompt file's nor the warm start's."""
_EVAL_SECONDS = 600.0


def main() -> None:
    """Prints both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--every", type=int, default=20)
    arguments.add_argument("--problems", type=int, default=32)
    arguments.add_argument("--repeats", type=int, default=2)
    options = arguments.parse_args()
    console = Console(record=True, width=110)
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "heldout.jsonl"
        write_prompts(suite, options.problems, _SEED)
        evaluated = (
            f"evaluation.every={options.every}",
            f'evaluation.suites=["{suite}"]',
            "evaluation.samples=1",
            f"learner.checkpoint_every={options.every}",
            "learner.checkpoints_kept=100",
        )
        plain = evaluated[-2:]
        rates: dict[str, list[float]] = {"without": [], "with evaluation": []}
        shares: list[float] = []
        for repeat in range(options.repeats):
            for mode, overrides in (("without", plain), ("with evaluation", evaluated)):
                run = run_mesh("trial", Path(folder), f"{mode.split()[0]}-{repeat}", overrides)
                rates[mode].append(run.tokens_trained_per_second(_WARM_STEPS))
                shares += slowed(run, options.every)
                console.print(f"{mode}: {rates[mode][-1]:.0f} tokens trained a second")
        console.print(_costs(rates))
        told = " ".join(f"{share:+.1%}" for share in shares)
        console.print(
            f"steps slowed by each evaluation, of the time of {options.every}: {told}; median {median(shares):+.1%}"
        )
        console.print(_again(run, Path(folder) / "again"))
    write_result("evaluation", console)


def slowed(run: MeshRun, every: int) -> list[float]:
    """What each evaluation of a run costs: the time by which two steps took longer, of that of `every` steps."""
    committed = {step["step"]: step["committed_at"] for step in run.steps}
    seconds = {step: committed[step] - committed[step - 1] for step in committed if step - 1 in committed}
    file = run.directory / "evaluations.jsonl"
    versions = [json.loads(line)["policy_version"] for line in file.read_text().splitlines()] if file.exists() else []
    shares = []
    for version in versions:
        around = [seconds.get(version + offset) for offset in (*range(-3, 1), *range(3, 7))]
        usual = [value for value in around if value is not None]
        slow = [value for offset in (1, 2) if (value := seconds.get(version + offset)) is not None]
        if len(slow) == 2 and len(usual) == len(around):
            shares.append((sum(slow) - 2 * median(usual)) / (every * median(usual)))
    return shares


def _costs(rates: dict[str, list[float]]) -> Table:
    table = Table("trial", "tokens trained/s (median)", "all runs", "costs")
    without = median(rates["without"])
    for mode, values in rates.items():
        runs = " ".join(f"{value:.0f}" for value in values)
        table.add_row(mode, f"{median(values):.0f}", runs, f"{1 - median(values) / without:.1%}")
    return table


def _again(run: MeshRun, output: Path) -> Table:
    """The versions that a run evaluated, during training and after it."""
    during = [json.loads(line) for line in (run.directory / "evaluations.jsonl").read_text().splitlines()]
    there = {int(path.name.rpartition("-")[2]) for path in (run.directory / "checkpoints").glob("version-*")}
    versions = [row["policy_version"] for row in during if row["policy_version"] in there]
    after = {row["policy_version"]: row for row in _evaluate(run.directory, versions, output)}
    texts = {response.key: response.text for response in read_responses(output / "responses.jsonl")}
    table = Table("version", "pass@1 during", "after", "length during", "after", "responses that differ", "seconds")
    for row in during:
        version, same = row["policy_version"], after.get(row["policy_version"])
        kept = read_responses(run.directory / "evaluations" / f"version-{version:08d}" / "responses.jsonl")
        differ = sum(texts[response.key] != response.text for response in kept) if same else None
        table.add_row(
            str(version),
            f"{row['pass_at_1']:.4f}",
            "-" if same is None else f"{same['pass_at_1']:.4f}",
            f"{row['response_length']:.3f}",
            "-" if same is None else f"{same['response_length']:.3f}",
            "no checkpoint" if differ is None else str(differ),
            f"{row['seconds']:.2f}",
        )
    return table


def _evaluate(run: Path, versions: Sequence[int], output: Path) -> list[dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("areal-mesh")), "eval", *(f"{run}@{version}" for version in versions)]
    subprocess.run([*command, "--output", str(output)], check=True, timeout=_EVAL_SECONDS)
    rows: list[dict[str, Any]] = json.loads((output / "results.json").read_text())["results"]
    return rows


if __name__ == "__main__":
    main()
