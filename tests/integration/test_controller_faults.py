"""What a person has to see to is in the status within seconds, and the run waits until it is gone."""

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.events import GroupSummary
from areal_mesh.replay.segment_file import RECORDS_START
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.v1 import controller_pb2, status_pb2
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.controller_peers import SECONDS, Peer

PATIENCE_SECONDS = 60.0


async def status_with(
    mesh: Mesh, address: str, reached: Callable[[status_pb2.RunStatus], bool]
) -> status_pb2.RunStatus:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for status in mesh.watch(address):
            if reached(status):
                return status
    raise AssertionError("the run ended before")


async def beat(member: Peer, fault: str) -> None:
    request = controller_pb2.HeartbeatRequest(**member.me(), fault=fault)
    await member.stub.Heartbeat(request, timeout=SECONDS)


async def test_a_full_disk_of_the_replay_buffer_holds_admission_until_there_is_room(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        await mesh.learner(address)
        generator = await mesh.generator(address)
        replay = await mesh.replay(address)
        await status_with(mesh, address, lambda status: status.published_version == 0)
        await beat(replay, "no room for 67121152 bytes in /runs; free space there")
        [fault] = (await mesh.status(address)).faults
        assert (fault.service_id, fault.holds_admission) == ("replay", True)
        assert "free space there" in fault.text
        assert not (await generator.lease(wait=0.2, key="held")).leases
        async with asyncio.TaskGroup() as tasks:
            leasing = tasks.create_task(generator.lease(wait=SECONDS / 2, key="waits"))
            await status_with(mesh, address, lambda status: bool(status.faults))
            await beat(replay, "")
        assert leasing.result().leases
        assert not (await mesh.status(address)).faults


async def test_a_log_that_ends_before_the_ledger_holds_the_run_until_it_is_restored(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        await learner.next_step()
        batch = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        await learner.commit(1, batch)
        replay = await mesh.replay(address)
        replay.last_drawn_step = 0
        await replay.join(address)
        status = await status_with(mesh, address, lambda status: bool(status.faults))
        assert status.faults[0].text.startswith("the replay log ends with the batch of step 0, but step 1 is committed")
        assert not (await generator.lease(wait=0.2, key="held")).leases
        assert (await learner.next_step()).wait
        replay.last_drawn_step = 1
        await status_with(mesh, address, lambda status: not status.faults)
        assert (await learner.next_step()).step == 2
        assert (await generator.lease(key="again")).leases


async def test_a_ledger_that_ends_before_the_released_steps_is_named(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        await mesh.learner(address)
        replay = await mesh.replay(address)
        replay.released_step = 7
        await replay.join(address)
        status = await status_with(mesh, address, lambda status: bool(status.faults))
        assert "the ledger ends with step 0, but the replay log has released step 7" in status.faults[0].text


async def store(directory: Path) -> None:
    buffer = ReplayBuffer(directory, 1 << 20, 1 << 20)
    for number in range(5):
        assert not await buffer.append(GroupSummary(f"g{number}", number, 0, 100), random.randbytes(100))
    buffer.close()


async def test_a_service_that_cannot_start_is_in_the_status_with_its_cause(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path)
    directory = settings.run_directory / "replay"
    await store(directory)
    damaged = directory / "groups" / "0000000001.segment"
    data = bytearray(damaged.read_bytes())
    data[RECORDS_START + 50] ^= 4
    damaged.write_bytes(data)
    async with controller(settings) as (_, address):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "areal_mesh.cli", "serve", "replay", "--config", "trial", "--controller", address),
            *("--set", f"directory={settings.directory}", "--set", "name=mesh"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, errors = await process.communicate()
        assert process.returncode == EXIT_CANNOT_START
        cause = f"{damaged}: damaged at byte {RECORDS_START}, though records up to byte"
        assert f"areal-mesh replay-0: cannot start: the replay log cannot be read: {cause}" in errors.decode()
        [fault] = (await mesh.status(address)).faults
        assert fault.service_id == "replay-0"
        assert cause in fault.text
        assert not fault.holds_admission


async def test_a_service_that_cannot_start_tells_the_controller_of_its_run_alone(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        peer = await mesh.replay(address)
        request = controller_pb2.DeregisterRequest(**peer.me(), fault="damaged", run_name="another")
        with pytest.raises(grpc.aio.AioRpcError, match="belongs to another"):
            await peer.stub.Deregister(request, timeout=SECONDS)
        assert not (await mesh.status(address)).faults
