"""What a controller costs late in a run: its start, a commit and a status, from a ledger of any size."""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from rich.table import Table

from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.records import GroupRow, GroupState, PublishRow, StageEntry, StepRow
from areal_mesh.runtime.channels import ROLE_KEY
from areal_mesh.simulation.figures import percentile
from areal_mesh.simulation.processes import cpu_seconds, rss_bytes
from areal_mesh.v1 import (
    common_pb2,
    controller_pb2,
    controller_pb2_grpc,
    status_pb2,
    status_pb2_grpc,
)
from benchmarks.controller_process import controller_process, write_settings
from benchmarks.meshrun import free_port

BATCH_GROUPS = 100
_COMMITS = 30
_STATUSES = 200
_SECONDS = 300.0
_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)]
_LEARNER = {"service_id": "simulated-learner", "incarnation": "simulated"}
_METADATA = ((ROLE_KEY, "learner"),)
_METRICS = {f"metric_{number}": number / 3 for number in range(30)} | {"reward": 0.5, "truncated": 0.1}


@dataclass(frozen=True)
class Lateness:
    """A ledger's size, and what the controller took with it: seconds, and bytes of memory."""

    groups: int
    steps: int
    start: float
    start_cpu: float
    commit: float
    status: float
    status_p99: float
    rss: int


def write_ledger(directory: Path, steps: int) -> None:
    """A run's directory after so many steps, with stored groups for the next ones."""
    ledger = Ledger(directory / "ledger.db")
    ledger.write_fact("batch_groups", str(BATCH_GROUPS))
    ledger.enter_stage(StageEntry(0, 1, 0.0, "start of the run"))
    ledger.add_publish(_publish(0))
    with (directory / "metrics.jsonl").open("w") as lines:
        for step in range(1, steps + 1):
            groups = _groups(step, GroupState.TRAINED)
            ledger.commit_step(StepRow(step, 0, _METRICS, {0: 50, 1: 50}, float(step), 400_000), groups)
            ledger.add_publish(_publish(step))
            lines.write(json.dumps({"step": step, **_METRICS}) + "\n")
    for step in range(steps + 1, steps + 2 + _COMMITS):
        ledger.put_groups(_groups(step, GroupState.STORED))
    ledger.close()


def _groups(step: int, state: GroupState) -> Iterator[GroupRow]:
    for sequence in range((step - 1) * BATCH_GROUPS, step * BATCH_GROUPS):
        yield GroupRow(
            group_id=f"g{sequence:08d}",
            sequence=sequence,
            prompt_id=f"p{sequence % 10_000}",
            stage=0,
            state=state,
            leased_at=float(step),
            stored_at=step + 0.5,
            lease_version=step - 1,
            oldest_version=step - 1,
            tokens=4000,
            step=step if state is GroupState.TRAINED else None,
        )


def _publish(version: int) -> PublishRow:
    members = tuple(f"simulated-generator-{number}/simulated" for number in range(8))
    return PublishRow(version, float(version), 0.01, 0.5, 0.01, 1 << 30, members, "agreed")


async def late_costs(steps: int, core: int) -> Lateness:
    """Writes a ledger and measures a controller's second life on it; the first one commits a single step."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        settings = write_settings(folder, port, core, BATCH_GROUPS, 1)
        (folder / "control-plane").mkdir()
        write_ledger(folder / "control-plane", steps)
        with controller_process(settings, core):
            await _work(port, steps, 1)
        began = time.perf_counter()
        with controller_process(settings, core) as process:
            start = await _started(port)
            start_cpu = cpu_seconds(process.pid)
            commits, statuses = await _work(port, steps + 1, _COMMITS)
            rss = rss_bytes(process.pid)
    return Lateness(
        groups=steps * BATCH_GROUPS,
        steps=steps,
        start=start - began,
        start_cpu=start_cpu,
        commit=statistics.median(commits),
        status=statistics.median(statuses),
        status_p99=percentile(statuses, 0.99),
        rss=rss,
    )


async def _started(port: int) -> float:
    """When the first status came."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        status: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
        await status.GetStatus(status_pb2.GetStatusRequest(), timeout=_SECONDS, wait_for_ready=True)
    return time.perf_counter()


async def _work(port: int, version: int, commits: int) -> tuple[list[float], list[float]]:
    """The seconds of each commit and each status."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        status: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
        stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
        await stub.Register(
            controller_pb2.RegisterRequest(
                service_id=_LEARNER["service_id"],
                incarnation=_LEARNER["incarnation"],
                role=common_pb2.ROLE_LEARNER,
                address="127.0.0.1:1",
                policy_version=version,
            ),
            timeout=_SECONDS,
            wait_for_ready=True,
            metadata=_METADATA,
        )
        took, statuses = [], []
        for step in range(version + 1, version + 1 + commits):
            request = controller_pb2.CommitStepRequest(
                service_id=_LEARNER["service_id"],
                incarnation=_LEARNER["incarnation"],
                step=step,
                policy_version=step,
                group_ids=[group.group_id for group in _groups(step, GroupState.STORED)],
                metrics=_METRICS,
                staleness={0: BATCH_GROUPS},
            )
            began = time.perf_counter()
            await stub.CommitStep(request, timeout=_SECONDS, metadata=_METADATA)
            took.append(time.perf_counter() - began)
        for _ in range(_STATUSES if commits > 1 else 1):
            began = time.perf_counter()
            await status.GetStatus(status_pb2.GetStatusRequest(), timeout=_SECONDS)
            statuses.append(time.perf_counter() - began)
    return took, statuses


def late_table(groups: int, cores: list[int]) -> tuple[Table, list[Lateness]]:
    """An almost empty ledger beside one of so many groups."""
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    results = [asyncio.run(late_costs(steps, cores[0])) for steps in (1, groups // BATCH_GROUPS)]
    table = Table(title="A controller's second life on a ledger of some size")
    for column in ("groups", "steps", "start s", "start CPU s", "commit ms", "status ms", "status p99 ms", "RSS MB"):
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(
            str(row.groups),
            str(row.steps),
            f"{row.start:.2f}",
            f"{row.start_cpu:.2f}",
            f"{1000 * row.commit:.1f}",
            f"{1000 * row.status:.2f}",
            f"{1000 * row.status_p99:.2f}",
            f"{row.rss / 1e6:.0f}",
        )
    return table, results
