"""A week of a 16-node run, as fast as the controller goes: its memory, by the steps behind it.

AReaL v0.1 took 40 hours on 16 nodes for 395 steps of 1,024 prompts; a week is 1,660 of them, 1.7 million groups. A real
controller on one core has 512 simulated generators, which keep a lease waiting each, and a simulated learner that
commits whatever has ended; every step is published to all of them. On two cores that takes half an hour; with fewer
groups a step less.

    python -m benchmarks.simulated_week [--steps 1660] [--batch-groups 1024] [--members 512]
"""

import argparse
import asyncio
import os
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from areal_mesh.simulation.processes import cpu_seconds, rss_bytes
from benchmarks.meshrun import write_result
from benchmarks.simulated import Load
from benchmarks.simulated_run import simulated_run

_LOAD = Load(hold=(0.1, 0.5))  # a step should not wait for its groups
_MAX_STALENESS = 1
_PARTS = 20
_STEP_SECONDS = 60.0  # a step that takes longer than this is one that stands still


@dataclass(frozen=True)
class Moment:
    """What was seen when some steps were behind; `seconds` and `cpu` since the first step, memory in bytes."""

    steps: int
    groups: int
    seconds: float
    cpu: float
    rss: int


async def run(members: int, steps: int, batch_groups: int, cores: list[int]) -> list[Moment]:
    """A moment as each twentieth of the steps is done, printed as it is. Raises TimeoutError where a step hangs."""
    seen: list[Moment] = []
    async with simulated_run(members, _LOAD, batch_groups, _MAX_STALENESS, cores) as going:
        mesh, process = going.mesh, going.process
        began, cpu = time.perf_counter(), cpu_seconds(process)
        for part in range(1, _PARTS + 1):
            await mesh.learned(steps * part // _PARTS, _STEP_SECONDS)
            seconds, spent = time.perf_counter() - began, cpu_seconds(process) - cpu
            moment = Moment(mesh.learner_version, mesh.figures.ended, seconds, spent, rss_bytes(process))
            seen.append(moment)
            print(f"{moment.steps} steps, {moment.groups:,} groups: {moment.rss / 1e6:.1f} MB", flush=True)
    return seen


def week_table(seen: list[Moment], members: int) -> Table:
    """The moments, one a row."""
    table = Table(title=f"One controller on one core, {members} simulated generators, {seen[-1].steps} steps")
    for column in ("steps", "groups", "groups/s", "CPU ms/group", "RSS MB"):
        table.add_column(column, justify="right")
    for moment in seen:
        table.add_row(
            f"{moment.steps:,}",
            f"{moment.groups:,}",
            f"{moment.groups / moment.seconds:.0f}",
            f"{1000 * moment.cpu / moment.groups:.2f}",
            f"{moment.rss / 1e6:.1f}",
        )
    return table


def main() -> None:
    """Prints the table, and each figure on a line of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=512, help="simulated generators")
    parser.add_argument("--steps", type=int, default=1660, help="steps in all")
    parser.add_argument("--batch-groups", type=int, default=1024, help="groups of a step")
    options = parser.parse_args()
    seen = asyncio.run(run(options.members, options.steps, options.batch_groups, sorted(os.sched_getaffinity(0))))
    console = Console(width=140, record=True)
    console.print(week_table(seen, options.members))
    first, middle, last = seen[0], seen[len(seen) // 2 - 1], seen[-1]
    console.print(f"figure: week_rss_mb_first_twentieth {first.rss / 1e6:.1f}")
    console.print(f"figure: week_rss_mb_half {middle.rss / 1e6:.1f}")
    console.print(f"figure: week_rss_mb_end {last.rss / 1e6:.1f}")
    console.print(f"figure: week_rss_end_over_half {last.rss / middle.rss:.3f}")
    write_result("simulated_week", console)


if __name__ == "__main__":
    main()
