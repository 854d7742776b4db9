"""What drawing does to the lengths that are trained on, with the heavy tail of a real run, on a virtual clock.

`python -m benchmarks.length_bias` runs the product's admission, ledger and drawing with simulated generators and a
simulated learner, and prints for each bound the mean length of what was leased, of what was trained and of what was
dropped as stale: drawn by deadline with the default patience, with little and with none, and drawn by arrival. What
patience costs is in the seconds a step, what dropping costs in the tokens trained a second.
"""

import argparse
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from areal_mesh.replay.drawing import GroupLedger
from areal_mesh.runtime.settings import ReplaySettings
from benchmarks.simulated_lengths import ArrivalOrder, Outcome, Workload, mean, simulate

BOUNDS = (0, 1, 2, 4)
DEFAULT_PATIENCE = ReplaySettings().patience_seconds


def policies() -> dict[str, tuple[type[GroupLedger], float]]:
    """By name: what draws, and its patience in seconds."""
    return {
        f"deadline_{DEFAULT_PATIENCE:.0f}_s": (GroupLedger, DEFAULT_PATIENCE),
        "deadline_60_s": (GroupLedger, 60.0),
        "deadline_0_s": (GroupLedger, 0.0),
        "arrival": (ArrivalOrder, 0.0),
    }


def _row(bound: int, name: str, outcome: Outcome, workload: Workload) -> list[str]:
    groups = len(outcome.leased)
    return [
        f"{bound}",
        name,
        f"{mean(outcome.leased) / workload.responses:,.0f}",
        f"{mean(outcome.trained) / workload.responses:,.0f}",
        f"{outcome.bias:+.2%}",
        f"{len(outcome.stale) / groups:.1%}",
        f"{mean(outcome.stale) / workload.responses:,.0f}" if outcome.stale else "-",
        f"{outcome.staleness}",
        f"{outcome.seconds / workload.steps:.0f}",
        f"{outcome.held_seconds / outcome.seconds:.0%}",
        f"{sum(outcome.trained) / outcome.seconds:,.0f}",
    ]


def main() -> None:
    """Runs each policy at each bound and prints the table."""
    parser = argparse.ArgumentParser(description="The lengths of what is trained beside those of what was leased.")
    parser.add_argument("--steps", type=int, default=Workload().steps)
    parser.add_argument("--seed", type=int, default=Workload().seed)
    arguments = parser.parse_args()
    workload = replace(Workload(), steps=arguments.steps, seed=arguments.seed)
    table = Table(title=f"{workload.steps} steps of {workload.batch_groups} groups of {workload.responses} responses")
    for column in ("bound", "drawn by", "leased", "trained", "bias", "stale", "their length", "staleness"):
        table.add_column(column, no_wrap=True)
    for column in ("s a step", "held", "trained tok/s"):
        table.add_column(column, no_wrap=True)
    figures = []
    for bound in BOUNDS:
        for name, (ledger, patience) in policies().items():
            outcome = simulate(workload, bound, ledger(), patience)
            table.add_row(*_row(bound, name, outcome, workload))
            figures.append(f"figure: length_bias_{name}_bound_{bound} {outcome.bias:.4f}")
    console = Console(width=140)
    console.print("lengths: mean response tokens; bias: trained against leased; stale: share of the groups leased")
    console.print("held: share of the time in which the learner waited for running groups though a batch was stored")
    console.print(table)
    print("\n".join(figures))


if __name__ == "__main__":
    main()
