"""The control plane under load: a real controller on one core, and simulated members on the others, over real gRPC.

`python -m benchmarks.control_plane` prints one table of loads and one of ledgers' sizes:

- full speed: every generator keeps a lease waiting and admission holds them back, so that the controller is asked more
  than it can do; a group is one lease, one end, its share of a commit and of a publish to all members;
- 16 nodes: 512 generators at the rates of a run that trains 8,192 rollouts (512 groups) in 30 s;
- a ledger of a million groups and ten thousand steps beside one that is almost empty.

CPU time is the controller process's own, from /proc. A person's status call comes ten times a second besides.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from rich.console import Console
from rich.table import Table

from areal_mesh.v1 import status_pb2, status_pb2_grpc
from benchmarks.meshrun import free_port
from benchmarks.simulated import Load, SimulatedMesh

BATCH_GROUPS = 512
_STATUS_EVERY = 0.1
_START_SECONDS = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")


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


def write_settings(folder: Path, port: int, core: int, batch_groups: int, max_staleness: int) -> Path:
    """A run's settings and prompts in `folder`; returns the settings' file."""
    prompts = folder / "prompts.jsonl"
    with prompts.open("w") as file:
        for number in range(10_000):
            problem = {"id": f"p{number}", "problem": f"What is {number} + 1? " * 10, "answer": str(number + 1)}
            file.write(json.dumps(problem) + "\n")
    settings = folder / "run.toml"
    settings.write_text(
        f"""
name = "control-plane"
directory = "{folder}"
[model]
folder = "{folder}"
[prompts]
file = "{prompts}"
[[stages]]
name = "8K"
max_response_tokens = 8192
max_steps = 1000000
window = 5
end_when_truncated_above = 0.9
[algorithm]
batch_groups = {batch_groups}
responses = 16
max_staleness = {max_staleness}
[controller]
listen = "127.0.0.1:{port}"
cores = [{core}]
"""
    )
    return settings


@contextlib.contextmanager
def controller_process(settings: Path, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """The controller as `areal-mesh serve` runs it, on one core; killed when left."""
    command = [str(Path(sys.executable).with_name("areal-mesh")), "serve", "controller", "--config", str(settings)]
    before = os.sched_getaffinity(0)
    with (settings.parent / "controller.out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        os.sched_setaffinity(0, before)
        process.send_signal(signal.SIGKILL)
        process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def ask_status(address: str, seconds: list[float]) -> None:
    """Asks for the status ten times a second, until cancelled."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
        while True:
            began = time.perf_counter()
            await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=_START_SECONDS, wait_for_ready=True)
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(_STATUS_EVERY)


async def measure(
    name: str, members: int, load: Load, max_staleness: int, warm_seconds: float, seconds: float, cores: list[int]
) -> Measured:
    """Runs one load against a controller of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = write_settings(Path(folder), port, cores[0], BATCH_GROUPS, max_staleness)
        with controller_process(settings, cores[0]) as process:
            os.sched_setaffinity(0, set(cores[1:]))
            mesh = SimulatedMesh(controller=f"127.0.0.1:{port}", load=load, max_staleness=max_staleness)
            server, own_port = await mesh.serve()
            statuses: list[float] = []
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(mesh.run(members, own_port)),
                    tasks.create_task(ask_status(mesh.controller, statuses)),
                ]
                await mesh.started(_START_SECONDS)
                await asyncio.sleep(warm_seconds)
                mesh.figures.clear()
                statuses.clear()
                began, cpu = time.perf_counter(), cpu_seconds(process.pid)
                await asyncio.sleep(seconds)
                took, used = time.perf_counter() - began, cpu_seconds(process.pid) - cpu
                measured = Measured(
                    name,
                    members,
                    took,
                    used / took,
                    mesh.figures.ended,
                    tuple(mesh.figures.leases),
                    tuple(statuses),
                    rss_bytes(process.pid),
                )
                for task in running:
                    task.cancel()
            await server.stop(0)
    return measured


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
            f"{1000 * percentile(row.leases, 0.5):.1f}",
            f"{1000 * percentile(row.leases, 0.99):.1f}",
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
        asyncio.run(measure("full speed", members, Load(), 1, 4.0, options.seconds, cores))
        for members in options.members
    ]
    if options.paced_seconds > 0:
        paced = Load(hold=(5.0, 15.0), every=30.0, bound=False)
        results.append(asyncio.run(measure("16 nodes", 512, paced, 4, 15.0, options.paced_seconds, cores)))
    console.print(load_table(results))
    for row in results:
        name = f"{row.name.replace(' ', '_')}_{row.members}"
        print(f"figure: {name}_cpu_ms_a_group {row.cpu_a_group:.3f}")
        print(f"figure: {name}_groups_a_second {row.groups_a_second:.1f}")
        print(f"figure: {name}_cpu_share {row.cpu:.3f}")
        print(f"figure: {name}_lease_p99_ms {1000 * percentile(row.leases, 0.99):.2f}")
        print(f"figure: {name}_status_p99_ms {1000 * percentile(row.statuses, 0.99):.2f}")
        print(f"figure: {name}_status_p50_ms {1000 * statistics.median(row.statuses):.2f}")


if __name__ == "__main__":
    main()
