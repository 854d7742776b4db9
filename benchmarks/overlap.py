"""What overlap brings: tokens trained a second at max_staleness = 1 over the same at 0, in alternating runs.

Generator and learner have one core each in both. Beside it, honestly: a synchronous run in which each phase may use
both cores, which is what one would do with two cores and no overlap.

    python -m benchmarks.overlap [--steps 16] [--repeats 2]
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.meshrun import run_mesh, write_result

_WARM_STEPS = 4
_PINNED = ("generator.cores=[0]", "generator.engine_cores=none", "learner.cores=[1]")
_BOTH = ("generator.cores=[0,1]", "generator.engine_cores=none", "learner.cores=[0,1]", "learner.threads=2")
MODES: dict[str, tuple[str, ...]] = {
    "overlapping (max_staleness 1), a core each": ("algorithm.max_staleness=1", *_PINNED),
    "synchronous (max_staleness 0), a core each": ("algorithm.max_staleness=0", *_PINNED),
    "synchronous (max_staleness 0), both cores to each phase": ("algorithm.max_staleness=0", *_BOTH),
}


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=16)
    arguments.add_argument("--repeats", type=int, default=2)
    options = arguments.parse_args()
    stage = f'stages=[{{name="64",max_response_tokens=64,max_steps={options.steps}}}]'
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    console = Console(record=True, width=110)
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for index, (mode, overrides) in enumerate(MODES.items()):
                run = run_mesh("trial", Path(folder), f"overlap-{repeat}-{index}", (stage, *overrides))
                rates[mode].append(run.tokens_trained_per_second(_WARM_STEPS))
                console.print(f"{mode}: {rates[mode][-1]:.0f} tokens trained a second")
    overlapping = median(next(iter(rates.values())))
    table = Table("mode", "tokens trained/s (median)", "all runs", "overlapping is faster by")
    for mode, values in rates.items():
        runs = " ".join(f"{value:.0f}" for value in values)
        table.add_row(mode, f"{median(values):.0f}", runs, f"{overlapping / median(values):.2f}x")
    console.print(table)
    write_result("overlap", console)


if __name__ == "__main__":
    main()
