"""Every service of a real run restarted, one by one: drained, ended, started again, as an upgrade does it.

Nobody who asks the controller meanwhile is refused, and no group is lost or trained twice.
"""

import asyncio
import signal
from pathlib import Path

import pytest

from areal_mesh.client import MeshClient
from tests.chaos.nodes import BATCH_GROUPS, Nodes, Watch, started
from tests.chaos.recovery import check_books
from tests.e2e.whole_mesh import ROLES, assert_sums_hold, read_json

# That of docs/operations.md.
ORDER = ("generator", "verifier", "replay", "learner", "controller")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_rolling_restart_loses_nothing_and_refuses_nobody(tmp_path: Path) -> None:
    with started(tmp_path) as (nodes, controller):
        asyncio.run(roll(nodes, controller))
    folder = tmp_path / "rolling"
    steps = check_books(folder, BATCH_GROUPS, max_staleness=1)
    summary = read_json(folder / "summary.json")
    assert summary["steps"] == steps
    assert summary["groups"]["failed"] == 0
    assert set(summary["checksums"]) == {"agreed"}
    assert_sums_hold(summary)


async def roll(nodes: Nodes, controller: str) -> None:
    async with MeshClient.connect(controller, timeout=60.0, waits=True) as mesh, asyncio.TaskGroup() as tasks:
        watch = Watch(mesh)
        looking = tasks.create_task(watch.look())
        for role in ("verifier", "replay", "generator", "learner"):
            await watch.until(f"the start of {role}", role, 1, 1)
        for role in ORDER:
            nodes.processes[role].send_signal(signal.SIGTERM)
            assert await nodes.ended(role) == 0, nodes.last_lines(role)
            nodes.start(role)
            step = await watch.until(f"steps after the restart of {role}", role, 2, 3)
            print(f"{role} restarted; step {step}")
        looking.cancel()
        await mesh.stop("all were restarted")
        print(f"{watch.answers} answers, the longest took {watch.longest:.1f} s")
        for role in ROLES:
            assert await nodes.ended(role) == 0, nodes.last_lines(role)
