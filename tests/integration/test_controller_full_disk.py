"""The controller on a disk that is full to its last byte: nothing new is leased, what is under way ends."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.service import ControllerService
from areal_mesh.controller.sinks import MetricsFile
from areal_mesh.runtime.errors import retry_seconds
from areal_mesh.v1 import status_pb2
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.small_disk import fill, small_disk

PATIENCE_SECONDS = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 32) as folder:
        yield folder


async def status_with(mesh: Mesh, address: str, reached: Callable[[status_pb2.RunStatus], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for status in mesh.watch(address):
            if reached(status):
                return


async def test_a_full_disk_holds_admission_and_nothing_that_is_under_way(disk: Path, mesh: Mesh) -> None:
    settings = settings_in(disk)
    async with controller(settings) as (_, address):
        learner, generator = await mesh.learner(address), await mesh.generator(address)
        await learner.next_step()
        batch = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        filler = fill(disk)
        await status_with(mesh, address, lambda status: bool(status.faults))
        [fault] = (await mesh.status(address)).faults
        assert (fault.service_id, fault.holds_admission) == ("controller", True)
        assert f"the disk of {settings.run_directory} is full" in fault.text
        assert not (await generator.lease(wait=0.2, key="held")).leases
        for group_id in batch:
            await generator.end(group_id)
        await learner.commit(1, batch)
        assert (await mesh.status(address)).published_version == 1
        async with asyncio.TaskGroup() as tasks:
            leasing = tasks.create_task(generator.lease(key="waits"))
            filler.unlink()
            await status_with(mesh, address, lambda status: not status.faults)
        assert leasing.result().leases
        assert (settings.run_directory / "ledger.reserve").exists(), "taken anew"


def use_up(service: ControllerService) -> None:
    """Writes to the ledger until neither disk nor reserve has room."""
    service._ledger.room.give_back()
    fill(service._context.run_directory)
    with pytest.raises(LedgerFull):  # noqa: PT012 the write that finds no room
        for number in range(10_000):
            service._ledger.write_fact(f"filler {number}", "x" * 4000)


async def test_without_any_room_calls_are_told_to_come_back_and_the_controller_lives(disk: Path, mesh: Mesh) -> None:
    settings = settings_in(disk)
    async with controller(settings) as (service, address):
        learner, generator = await mesh.learner(address), await mesh.generator(address)
        await learner.next_step()
        batch = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        use_up(service)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await generator.end(batch[0])
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_seconds(refused.value, -1) > 0
        before = (await mesh.status(address)).groups
        await generator.beat(*batch)
        await status_with(mesh, address, lambda status: bool(status.faults))
        assert (await mesh.status(address)).groups == before
        (settings.run_directory / "filler").unlink()
        await status_with(mesh, address, lambda status: not status.faults)
        for group_id in batch:
            await generator.end(group_id)
        await learner.commit(1, batch)
        assert (await mesh.status(address)).published_version == 1
        assert (await mesh.status(address)).tokens_generated == 40, "counted once"


async def test_a_controller_starts_again_on_a_full_disk_and_writes_what_it_owes(disk: Path, mesh: Mesh) -> None:
    settings = settings_in(disk)
    async with controller(settings) as (_, address):
        learner, generator = await mesh.learner(address), await mesh.generator(address)
        await learner.next_step()
        batch = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        await learner.commit(1, batch)
    filler = fill(disk)
    async with controller(settings) as (service, address):
        status = await mesh.status(address)
        assert status.step == 1
        await status_with(mesh, address, lambda status: bool(status.faults))
        filler.unlink()
        await status_with(mesh, address, lambda status: not status.faults)
        service._reports.finish()
    assert json.loads((settings.run_directory / "summary.json").read_text())["steps"] == 1
    lines = (settings.run_directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1]


async def test_a_metrics_line_that_finds_no_room_is_written_whole_once_there_is(
    tmp_path: Path, disk: Path, mesh: Mesh
) -> None:
    async with controller(settings_in(tmp_path)) as (service, address):
        learner, generator = await mesh.learner(address), await mesh.generator(address)
        await learner.next_step()
        batch = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        await learner.commit(1, batch)
        path = disk / "metrics.jsonl"
        file = MetricsFile(path)
        filler = fill(disk)
        file.catch_up(service._run, 1, service._replay.statistics)
        assert (file.written, path.read_bytes()) == (0, b"")
        filler.unlink()
        file.catch_up(service._run, 1, service._replay.statistics)
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1]
        file.close()


async def test_an_update_is_timed_by_the_controllers_clock(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (service, address):
        learner, generator = await mesh.learner(address), await mesh.generator(address)
        await learner.next_step()
        batch = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        began = service._clock.unix()
        await learner.commit(1, batch, update_seconds=20.0, update_age=3.0)
        [step] = service._ledger.steps()
        assert step.metrics["update_finished"] - step.metrics["update_started"] == pytest.approx(20.0)
        assert began - 3.0 <= step.metrics["update_finished"] <= service._clock.unix() - 3.0
        assert "update_age" not in step.metrics
