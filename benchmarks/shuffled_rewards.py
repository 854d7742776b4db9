"""It learns because of the reward: the trial with rewards shuffled among the responses of each batch learns nothing.

python -m benchmarks.shuffled_rewards [--share 0.5]
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from areal_mesh.runtime.settings import load_settings
from benchmarks.meshrun import run_mesh, write_result


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--share", type=float, default=0.5, help="of the trial's steps in each stage")
    options = arguments.parse_args()
    stages = load_settings("trial").stages
    cut = [
        f"stages.{index}.max_steps={max(1, int(stage.max_steps * options.share))}" for index, stage in enumerate(stages)
    ]
    cut += [f"stages.{index}.min_steps=0" for index in range(len(stages))]
    console = Console(record=True, width=100)
    table = Table("rewards", "steps", "reward, first 5 steps", "reward, last 5 steps")
    with tempfile.TemporaryDirectory() as folder:
        for name, shuffled in (("as-given", "false"), ("shuffled", "true")):
            run = run_mesh("trial", Path(folder), name, (*cut, f"algorithm.shuffle_rewards={shuffled}"))
            curve = run.summary["reward_curve"]
            first, last = sum(curve[:5]) / 5, sum(curve[-5:]) / 5
            table.add_row(name, str(len(curve)), f"{first:+.2f}", f"{last:+.2f}")
    console.print(table)
    write_result("shuffled_rewards", console)


if __name__ == "__main__":
    main()
