"""The replay service killed with -9: every acknowledged group and every batch is there again."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from areal_mesh.v1 import replay_pb2
from tests.integration.replay_callers import TIMEOUT, Callers, append, callers_of, draw, ids, make_group, serving
from tests.integration.replay_peers import leased

ROOT = Path(__file__).parents[2]
SERVER = """
import asyncio, os, sys
from pathlib import Path
from areal_mesh.replay.service import ReplayService
from areal_mesh.runtime.server import MeshServer
from tests.integration.replay_peers import heard, replay_settings, standing

async def main():
    server = MeshServer("127.0.0.1:0")
    folder = Path(sys.argv[1])
    said = standing(batch_groups=2, policy_version=0)
    service = ReplayService(replay_settings(folder), folder, heard(said))
    service.attach(server)
    await service.start()
    os.write(1, b"%d\\n" % await server.start())
    await service.run(asyncio.Event())

asyncio.run(main())
"""


def read_port(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], TIMEOUT)[0], "the service did not come up"
    return int(process.stdout.readline())


async def append_until_killed(callers: Callers, process: "subprocess.Popen[bytes]") -> list[str]:
    """Appends from four callers at once and kills the service on the way; returns what was acknowledged."""
    acknowledged: list[str] = []

    async def keep_appending(lane: int) -> None:
        for number in range(10_000):
            group = make_group(f"lane{lane}-{number}", length=2000)
            try:
                await callers.generator.AppendGroup(leased(group), timeout=TIMEOUT)
            except grpc.aio.AioRpcError:
                return
            acknowledged.append(group.group_id)
            if len(acknowledged) == 40:
                process.send_signal(signal.SIGKILL)

    async with asyncio.TaskGroup() as tasks:
        for lane in range(4):
            tasks.create_task(keep_appending(lane))
    return acknowledged


@pytest.fixture
def served_process(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The service in a process of its own, over `tmp_path`."""
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, env=environment
    ) as process:
        yield process
        process.kill()


async def test_a_service_killed_with_9_serves_the_same_batch_and_every_acknowledged_group(
    tmp_path: Path, served_process: "subprocess.Popen[bytes]"
) -> None:
    async with callers_of(await asyncio.to_thread(read_port, served_process)) as callers:
        early = [make_group(f"early{n}", length=2000) for n in range(3)]
        await append(callers, *early)
        before = await draw(callers, 1, 2)
        acknowledged = await append_until_killed(callers, served_process)
    assert await asyncio.to_thread(served_process.wait, TIMEOUT) == -signal.SIGKILL
    assert len(acknowledged) >= 40
    async with serving(tmp_path) as callers:
        assert await draw(callers, 1, 2, staleness=0) == before
        find = replay_pb2.FindGroupsRequest(group_ids=["early2", *acknowledged])
        found = await callers.controller.FindGroups(find, timeout=TIMEOUT)
        assert ids(found.groups) == ["early2", *acknowledged]
        header, drawn = await draw(callers, 2, 1 + len(acknowledged))
        assert header.complete
        assert drawn[0] == early[2]
        assert all(group == make_group(group.group_id, length=2000) for group in drawn)
