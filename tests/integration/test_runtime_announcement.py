"""Services that come late to a run: told that it is over, or that it still needs them, and awaited until they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from areal_mesh.controller.service import ControllerService, build
from areal_mesh.runtime.announcement import Announcement
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.registration import RefusedError
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import RunSettings
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.controller_peers import SECONDS, Generator, Learner, Replay
from tests.integration.replay_process import replay_service

RUN = RunIdentity("mesh")
NAMES = {"generator": "generator-0"}


def at_the_end(folder: Path) -> RunSettings:
    """Settings of a run in which generators need no version after the last step."""
    return settings_in(folder, {"drain_seconds": SECONDS}, sync_every=4, max_staleness=3)


@asynccontextmanager
async def serving(settings: RunSettings) -> AsyncIterator[tuple[ControllerService, str, asyncio.Task[None]]]:
    """A controller, and the task that ends when it does by itself."""
    context = ServiceContext(settings, Identity("controller", "controller"), "")
    service = build(context)
    assert isinstance(service, ControllerService)
    server = MeshServer(settings.controller.listen)
    service.attach(server)
    address = f"127.0.0.1:{await server.start()}"
    try:
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(service.run(context.draining))
            yield service, address, ending
            ending.cancel()
    finally:
        await server.stop(0)
        await service.close()


async def over(address: str, role: str) -> bool:
    """What a service of `role` that starts now is told."""
    announcement = Announcement(address, Identity(role, NAMES.get(role, role)), RUN)
    try:
        return await announcement.over(SECONDS)
    finally:
        await announcement.close()


async def train(mesh: Mesh, address: str) -> tuple[Generator, Learner, Replay]:
    """All four steps of the run; its members, none of which has left."""
    learner = await mesh.learner(address)
    generator = await mesh.generator(address)
    ids = [lease.group_id for lease in (await generator.lease()).leases]
    for step in range(1, 5):
        for group_id in ids[2 * step - 2 : 2 * step]:
            await generator.end(group_id)
        await learner.commit(step, ids[2 * step - 2 : 2 * step])
    return generator, learner, await mesh.replay(address)


async def test_each_role_is_needed_until_its_part_of_the_end_is_done(tmp_path: Path, mesh: Mesh) -> None:
    async with serving(at_the_end(tmp_path)) as (_, address, ending):
        assert not await over(address, "verifier")
        generator, learner, replay = await train(mesh, address)
        # The generator still drains, so it may want grading; the learner has not left with its last checkpoint.
        assert [await over(address, role) for role in ("verifier", "learner", "replay")] == [False] * 3
        await generator.leave()
        assert await over(address, "verifier")
        assert [await over(address, role) for role in ("learner", "replay")] == [False, False]
        await learner.leave()
        await replay.leave()
        assert [await over(address, role) for role in ("learner", "replay", "generator")] == [True] * 3
        await asyncio.wait_for(ending, SECONDS)


async def test_a_finished_run_tells_each_of_its_services_and_ends_as_it_was(tmp_path: Path, mesh: Mesh) -> None:
    settings = at_the_end(tmp_path)
    async with serving(settings) as (_, address, ending):
        for peer in await train(mesh, address):
            await peer.leave()
        await asyncio.wait_for(ending, SECONDS)
    summary = settings.run_directory / "summary.json"
    before = summary.read_text()
    async with serving(settings) as (_, address, ending):
        for role in ("learner", "replay"):
            assert await over(address, role)
            assert not (await asyncio.wait([ending], timeout=0.3))[0], "the others have not been told yet"
        assert await over(address, "generator")
        await asyncio.wait_for(ending, SECONDS)
    assert summary.read_text() == before, "a look at a finished run is no part of it"


async def test_a_generator_killed_near_the_end_is_told_as_it_starts_again(tmp_path: Path, mesh: Mesh) -> None:
    async with serving(at_the_end(tmp_path)) as (_, address, ending):
        generator, learner, replay = await train(mesh, address)
        await generator.die()
        await learner.leave()
        await replay.leave()
        assert not (await asyncio.wait([ending], timeout=0.5))[0], "it was a member and may come back"
        assert await over(address, "generator")
        await asyncio.wait_for(ending, SECONDS)


async def test_a_service_of_another_run_is_refused_before_it_loads_anything(tmp_path: Path) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        announcement = Announcement(address, Identity("verifier", "verifier-0"), RunIdentity("another"))
        with pytest.raises(RefusedError, match="belongs to another"):
            await announcement.over(SECONDS)
        await announcement.close()


async def test_where_nobody_answers_a_service_goes_on_to_start() -> None:
    announcement = Announcement("127.0.0.1:1", Identity("verifier", "verifier-0"), RUN)
    assert not await announcement.over(0.2)
    await announcement.close()


async def test_the_process_of_a_late_service_ends_with_0_and_says_why(tmp_path: Path, mesh: Mesh) -> None:
    settings = at_the_end(tmp_path)
    async with serving(settings) as (_, address, ending):
        assert not await over(address, "verifier")
        for peer in await train(mesh, address):
            await peer.leave()
        late = ("--set", "name=mesh", "--service-id", "verifier")
        async with replay_service(tmp_path / "late", address, *late) as process, asyncio.timeout(60):
            assert process.stderr is not None
            log = (await process.stderr.read()).decode()
            assert await process.wait() == 0, log
        assert "the run is over and needs this service no more" in log
        assert "Traceback" not in log
        await asyncio.wait_for(ending, SECONDS)
