"""Who gets a version when, and what a commit waits for. A controller over real gRPC, members without models."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from areal_mesh.client import MeshClient
from areal_mesh.controller.ledger import Ledger
from areal_mesh.v1 import common_pb2
from tests.integration.controller_mesh import Mesh, controller, settings_in, states_of
from tests.integration.controller_peers import SECONDS


async def test_leases_go_on_while_weights_are_published(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        await mesh.learner(address)
        first = await mesh.generator(address)
        assert len((await first.lease(most=1)).leases) == 1
        second = await mesh.generator(address, "generator-1", ready=False)
        await asyncio.wait_for(second.receiving.wait(), SECONDS)
        assert len((await first.lease(most=1, key="during")).leases) == 1
        assert (await second.lease(most=1, wait=0.1)).leases == [], "it has no weights yet"
        second.may_receive.set()
        assert len((await second.lease(most=1, key="after")).leases) == 1
        assert first.received == [0], "who holds the version is left in peace"


async def test_a_lost_member_that_calls_again_is_published_to_at_once(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path, {"lease_seconds": 0.4, "heartbeat_seconds": 0.2})
    async with controller(settings) as (_, address):
        generator = await mesh.generator(address)
        async for update in mesh.watch(address):
            if states_of(update)["generator-0"] == common_pb2.SERVICE_STATE_LOST:
                break
        learner = await mesh.learner(address)
        generator.state = common_pb2.SERVICE_STATE_SERVING
        await generator.beat()
        async with asyncio.timeout(2.0):
            await generator.receiving.wait()
        await learner.beat()


async def test_a_generator_that_refuses_is_left_out_and_the_others_get_the_version(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        bad = await mesh.generator(address, "generator-0", refuses=True)
        good = await mesh.generator(address, "generator-1")
        await mesh.learner(address)
        assert (await good.lease()).leases
        assert good.received == [0]
        bad.refuses = False
        await asyncio.wait_for(bad.receiving.wait(), SECONDS)  # recovered, it is given what it lacks
        assert (await bad.lease(wait=0.1)).leases == [], "the other holds every place"
        assert bad.received == [0]


async def test_a_generator_killed_in_a_transfer_does_not_keep_the_version_from_the_others(
    tmp_path: Path, mesh: Mesh
) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        killed = await mesh.generator(address, "generator-0", ready=False)
        other = await mesh.generator(address, "generator-1")
        await mesh.learner(address)
        await asyncio.wait_for(killed.receiving.wait(), SECONDS)
        await killed.die()
        assert (await other.lease()).leases
        status = await mesh.status(address)
        assert (status.published_version, status.weight_updates) == (0, 1)


async def test_a_generator_whose_digests_differ_gets_no_lease(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (service, address):
        bad = await mesh.generator(address, digest="other")
        await mesh.learner(address)
        assert (await bad.lease(wait=0.5)).leases == []
        with pytest.raises(grpc.aio.AioRpcError, match="differ from the learner's") as raised:
            await bad.beat()  # the process ends, and its supervisor starts another
        assert raised.value.code() is grpc.StatusCode.ABORTED
        assert service.report().policy_version == 0
        status = await mesh.status(address)
        assert (status.published_version, status.weight_updates) == (-1, 0)


async def test_a_commit_without_any_generator_returns_and_a_newcomer_gets_the_version(
    tmp_path: Path, mesh: Mesh
) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        ids = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        for group_id in ids:
            await generator.end(group_id)
        await generator.leave()
        await learner.commit(1, ids)
        assert (await mesh.status(address)).published_version == 0
        newcomer = await mesh.generator(address, "generator-1")
        assert (await newcomer.lease()).leases
        assert newcomer.received == [1]


async def test_a_commit_waits_for_a_killed_generator_to_come_back(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address), asyncio.TaskGroup() as tasks:
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        ids = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        for group_id in ids:
            await generator.end(group_id)
        await generator.die()
        commit = tasks.create_task(learner.commit(1, ids))
        assert not (await asyncio.wait([commit], timeout=0.5))[0]
        restarted = await mesh.generator(address)
        await commit
        assert (await mesh.status(address)).published_version == 1
        assert restarted.received == [1]


async def test_weights_whose_digests_were_never_compared_are_published_again(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path)
    async with controller(settings) as (_, address):
        generator = await mesh.generator(address, hashes=False)
        await mesh.learner(address)
        await asyncio.wait_for(generator.receiving.wait(), SECONDS)
        await generator.beat()  # it says version 0
        assert (await generator.lease(wait=0.3)).leases == []
        assert (await mesh.status(address)).published_version == -1, "its word is no publish"
        generator.hashes = True
        assert (await generator.lease(key="verified")).leases
        assert set(generator.received) == {0}
        assert len(generator.received) > 1
    publishes = Ledger(settings.run_directory / "ledger.db").publishes()
    assert [(row.policy_version, row.checksums) for row in publishes] == [(0, "agreed")]


async def test_a_version_received_from_a_lost_controller_is_compared_by_the_next(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path)
    async with controller(settings) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        ids = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        for group_id in ids:
            await generator.end(group_id)
        generator.hashes = False
        generator.receiving.clear()
        async with asyncio.TaskGroup() as tasks:
            commit = tasks.create_task(learner.commit(1, ids))
            await asyncio.wait_for(generator.receiving.wait(), SECONDS)
            await generator.beat()
            commit.cancel()
        assert generator.version == 1
        assert (await mesh.status(address)).published_version == 0, "its word is no publish"
    generator.hashes = True
    async with controller(settings) as (_, address):
        await generator.join(address)
        await generator.lease(key="without-a-learner", wait=0.2)
        assert (await mesh.status(address)).published_version == 0
        await learner.join(address)
        await learner.commit(1, ids)
        assert (await mesh.status(address)).published_version == 1
        assert generator.received[-1] == 1
        before = len(generator.received)
    async with controller(settings) as (_, address):
        await generator.join(address)
        await learner.join(address)
        await learner.commit(1, ids)
        assert (await mesh.status(address)).published_version == 1
        assert len(generator.received) == before, "what the ledger says was compared is not sent again"


async def test_a_commit_repeated_to_a_restarted_controller_waits_for_its_generators(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path)
    async with controller(settings) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        ids = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        for group_id in ids:
            await generator.end(group_id)
        generator.may_receive.clear()
        async with asyncio.TaskGroup() as tasks:
            generator.receiving.clear()
            commit = tasks.create_task(learner.commit(1, ids))
            await asyncio.wait_for(generator.receiving.wait(), SECONDS)
            commit.cancel()
    generator.may_receive.set()
    async with controller(settings) as (_, address), asyncio.TaskGroup() as tasks:
        await learner.join(address)
        commit = tasks.create_task(learner.commit(1, ids))
        assert not (await asyncio.wait([commit], timeout=0.5))[0]
        await generator.join(address)
        await commit
        assert (await mesh.status(address)).published_version == 1


async def test_a_commit_does_not_wait_for_a_generator_that_drains(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        ids = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        for group_id in ids:
            await generator.end(group_id)
        generator.state = common_pb2.SERVICE_STATE_DRAINING
        await generator.beat()
        await learner.commit(1, ids)
        assert (await mesh.status(address)).published_version == 0


async def test_a_generator_that_waits_for_weights_is_shown_with_what_keeps_them(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        generator = await mesh.generator(address)
        assert await reasons_seen(address, lambda reason: bool(reason)) == "no learner has registered yet"
        generator.refuses = True
        await mesh.learner(address)
        refused = await reasons_seen(address, lambda reason: "no room" in reason)
        assert refused == "prepare failed, refused: no room"
        generator.refuses = False
        assert await reasons_seen(address, lambda reason: not reason) == ""
        status = await mesh.status(address)
        assert status.published_version == 0
        assert states_of(status)["generator-0"] != common_pb2.SERVICE_STATE_LOST, "it has its weights, and was not lost"


async def reasons_seen(address: str, wanted: Callable[[str], bool]) -> str:
    """Why generator-0 waits for weights, as soon as the reason is a wanted one."""
    async with asyncio.timeout(SECONDS), MeshClient.connect(address) as client:
        async for status in client.watch(0.1):
            for service in status.services:
                if service.service_id == "generator-0" and wanted(service.waits_for):
                    return service.waits_for
    raise AssertionError("the controller ended")
