"""The control plane under load: a real controller on one core, and simulated members on the others, over real gRPC.

`python -m benchmarks.control_plane` prints one table of loads and one of ledgers' sizes:

- full speed: every generator keeps a lease waiting and admission holds them back, so that the controller is asked more
  than it can do; a group is one lease, one end, its share of a commit and of a publish to all members;
- 500 groups a second: 512 generators, each of which asks for a group and ends it every 1.024 s, so that what a caller
  waits for is the controller's own time and no queue of the benchmark's making;
- 16 nodes: 512 generators at the rates of a run that trains 8,192 rollouts (512 groups) in 30 s;
- a ledger of a million groups and ten thousand steps beside one that is almost empty.

CPU time is the controller process's own, from /proc. A person's status call comes ten times a second besides, from a
process of its own.
"""

import argparse
import asyncio
import os
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from areal_mesh.simulation.figures import percentile
from areal_mesh.simulation.processes import cpu_seconds, rss_bytes
from benchmarks.long_run import late_table
from benchmarks.simulated import Load
from benchmarks.simulated_run import simulated_run
from benchmarks.status_caller import status_caller

BATCH_GROUPS = 512
_FULL_SPEED_BATCH = 2048  # a publish to all members every few seconds, still more often than any real run has


@dataclass(frozen=True)
class Measured:
    """One load's figures. Seconds, but `cpu` is the share of one core and `rss` in bytes."""

    name: str
    members: int
    seconds: float
    cpu: float
    groups: int
    leases: Sequence[float]
    statuses: Sequence[float]
    rss: int

    @property
    def cpu_a_group(self) -> float:
        """Milliseconds of the controller's CPU a group."""
        return 1000 * self.cpu * self.seconds / self.groups if self.groups else float("nan")

    @property
    def groups_a_second(self) -> float:
        """Groups that ended a second."""
        return self.groups / self.seconds


async def cpu_while(process: int, seconds: float) -> tuple[float, float]:
    """Waits; returns the seconds that it took, and the share of a core that a process used meanwhile."""
    began, cpu = time.perf_counter(), cpu_seconds(process)
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    return took, (cpu_seconds(process) - cpu) / took


async def measure(
    name: str,
    members: int,
    load: Load,
    pacing: tuple[int, int],
    warm_seconds: float,
    seconds: float,
    cores: list[int],
) -> Measured:
    """Runs one load against a controller of its own; `pacing`: groups a batch, and the bound on staleness."""
    async with simulated_run(members, load, *pacing, cores) as run:
        with status_caller(run.address, cores[1:]) as person:
            await asyncio.sleep(warm_seconds)
            figures = run.mesh.figures
            figures.clear_times()
            figures.ended = 0
            await asyncio.to_thread(person.taken)
            took, cpu_share = await cpu_while(run.process, seconds)
            ended, leases, memory = figures.ended, tuple(figures.leases), rss_bytes(run.process)
            statuses = await asyncio.to_thread(person.taken)
    return Measured(name, members, took, cpu_share, ended, leases, statuses, memory)


def load_table(results: Sequence[Measured]) -> Table:
    """The loads, one a row."""
    table = Table(title="One controller on one core, simulated members over real gRPC")
    for column in ("load", "members"):
        table.add_column(column)
    for column in ("CPU ms/group", "groups/s", "CPU %", "lease p50 ms", "lease p99 ms", "status p99 ms", "RSS MB"):
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(
            row.name,
            str(row.members),
            f"{row.cpu_a_group:.2f}",
            f"{row.groups_a_second:.0f}",
            f"{100 * row.cpu:.0f}",
            f"{1000 * percentile(row.leases, 0.5):.1f}" if row.leases else "",
            f"{1000 * percentile(row.leases, 0.99):.1f}" if row.leases else "",
            f"{1000 * percentile(row.statuses, 0.99):.1f}",
            f"{row.rss / 1e6:.0f}",
        )
    return table


def main() -> None:
    """Prints the tables, and each figure on a line of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, nargs="*", default=[64, 256, 512], help="generators at full speed")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time of a load at full speed")
    parser.add_argument("--paced-seconds", type=float, default=60.0, help="measured time of the 16-node load")
    parser.add_argument("--groups", type=int, default=1_000_000, help="groups of the large ledger; 0 leaves it out")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    console = Console(width=140)
    results = [
        asyncio.run(measure("full speed", members, Load(), (_FULL_SPEED_BATCH, 1), 10.0, options.seconds, cores))
        for members in options.members
    ]
    if options.paced_seconds > 0:
        steady = Load(hold=(0.3, 0.9), slots=1, every=512 / 500, bound=False)
        pacing = (_FULL_SPEED_BATCH, 4)
        results.append(asyncio.run(measure("500 groups/s", 512, steady, pacing, 15.0, options.paced_seconds, cores)))
        paced = Load(hold=(5.0, 15.0), slots=1, every=30.0, bound=False)
        results.append(
            asyncio.run(measure("16 nodes", 512, paced, (BATCH_GROUPS, 4), 15.0, options.paced_seconds, cores))
        )
    console.print(load_table(results))
    if options.groups:
        table, late = late_table(options.groups, cores)
        console.print(table)
        for size in late:
            print(f"figure: start_cpu_s_at_{size.groups}_groups {size.start_cpu:.2f}")
            print(f"figure: start_s_at_{size.groups}_groups {size.start:.2f}")
            print(f"figure: commit_ms_at_{size.groups}_groups {1000 * size.commit:.2f}")
            print(f"figure: status_ms_at_{size.groups}_groups {1000 * size.status:.2f}")
    for row in results:
        name = f"{re.sub(r'[ /]', '_', row.name)}_{row.members}"
        print(f"figure: {name}_cpu_ms_a_group {row.cpu_a_group:.3f}")
        print(f"figure: {name}_groups_a_second {row.groups_a_second:.1f}")
        print(f"figure: {name}_cpu_share {row.cpu:.3f}")
        if row.leases:
            print(f"figure: {name}_lease_p99_ms {1000 * percentile(row.leases, 0.99):.2f}")
        print(f"figure: {name}_status_p99_ms {1000 * percentile(row.statuses, 0.99):.2f}")
        print(f"figure: {name}_status_p50_ms {1000 * statistics.median(row.statuses):.2f}")


if __name__ == "__main__":
    main()
