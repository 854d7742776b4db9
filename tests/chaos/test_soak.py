"""A run under random faults for an hour: it goes on after each, and its books are balanced at the end.

`make soak` runs it for SOAK_SECONDS (3600), as root; AREAL_MESH_SOAK gives the seconds.
"""

import asyncio
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest

from areal_mesh.client import MeshClient, MeshClientError
from tests.chaos.cluster import Cluster, cluster, ends_of
from tests.chaos.faults import RandomFaults
from tests.chaos.hosts import why_no_hosts
from tests.chaos.recovery import check_books, replay_equals
from tests.e2e.whole_mesh import read_json
from tests.integration.small_disk import small_disk

SECONDS = float(os.environ.get("AREAL_MESH_SOAK", "0"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS + 3600),
    pytest.mark.skipif(not SECONDS, reason="soak: an hour, run by `make soak`"),
]
SEED = int(os.environ.get("AREAL_MESH_SOAK_SEED", "1"))
BETWEEN_SECONDS = (2.0, 15.0)
STUCK_SECONDS = 300.0
POLL_SECONDS = 0.2
DISK_MIB = 2000
BATCH_GROUPS = 8
MAX_STALENESS = 2
OVERRIDES = (
    "name=soak",
    "generator.cores=none",
    "learner.cores=none",
    "learner.threads=1",
    "stages.0.max_steps=20",
    "stages.1.max_steps=100000",
    f"algorithm.batch_groups={BATCH_GROUPS}",
    f"algorithm.max_staleness={MAX_STALENESS}",
    "generator.max_groups_in_flight=8",
    "generator.max_sequences=32",
    "generator.drain_seconds=5",
    "controller.lease_seconds=5",
    "replay.keep_released=true",
    "replay.segment_bytes=1048576",
    "learner.checkpoint_every=5",
    "weights.prepare_seconds=10",
    "weights.transfer_seconds=20",
)


async def step_of(mesh: Cluster) -> int:
    """Committed steps; -1 while no controller answers."""
    with suppress(MeshClientError):
        async with MeshClient.connect(mesh.controller, timeout=2.0) as client:
            return (await client.status()).step
    return -1


async def until_step(mesh: Cluster, faults: RandomFaults, step: int) -> None:
    """Waits for a step; AssertionError with what every service said last if it does not come."""
    deadline = time.monotonic() + STUCK_SECONDS
    while await step_of(mesh) < step:
        faults.put_right()
        faults.supervise()
        assert time.monotonic() < deadline, f"no step {step} within {STUCK_SECONDS:.0f} s:\n{mesh.last_lines()}"
        await asyncio.sleep(POLL_SECONDS)


async def soak(mesh: Cluster, faults: RandomFaults) -> float:
    """Faults until the time is over, then a stop; the longest time from a fault to a step."""
    await until_step(mesh, faults, 2)
    begun, longest = time.monotonic(), 0.0
    while time.monotonic() - begun < SECONDS:
        await asyncio.sleep(faults.chance.uniform(*BETWEEN_SECONDS))
        before = await step_of(mesh)
        at = time.monotonic()
        name = faults.one()
        while not faults.quiet:
            faults.put_right()
            faults.supervise()
            await asyncio.sleep(POLL_SECONDS)
        await until_step(mesh, faults, before + 2)
        longest = max(longest, time.monotonic() - at)
        print(f"{time.monotonic() - begun:6.0f} s: {name}, a step after {time.monotonic() - at:.1f} s", flush=True)
    async with MeshClient.connect(mesh.controller, timeout=30.0) as client:
        await client.stop("the soak is over")
    return longest


@pytest.mark.skipif(why_no_hosts() is not None, reason=f"hosts: {why_no_hosts()}")
def test_a_run_survives_whatever_happens_and_its_books_are_balanced(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", DISK_MIB) as disk, cluster("trial-short", disk, *OVERRIDES) as mesh:
        for number in range(2):
            mesh.add_generator(f"generator-{number}")
        faults = RandomFaults(mesh, disk, random.Random(SEED))
        try:
            longest = asyncio.run(soak(mesh, faults))
            ends = ends_of(mesh)
        except BaseException:
            faults.put_right(at_once=True)
            print(mesh.last_lines())
            raise
        assert {name: code for name, code in ends.items() if code} == {}
        steps = check_books(disk / "soak", BATCH_GROUPS, MAX_STALENESS)
        summary = read_json(disk / "soak" / "summary.json")
        print(f"figure: soak_faults {faults.survived.total()} {dict(sorted(faults.survived.items()))}")
        print(f"figure: soak_ended_by_themselves {dict(faults.ended_by_themselves)}")
        print(f"figure: soak_longest_seconds_to_a_step {longest:.1f}; {steps} steps, groups {summary['groups']}")
        print(replay_equals(disk / "soak"))
