"""Leases over real gRPC: who gets which groups, and under which ids they are issued again."""

import asyncio
from pathlib import Path

import grpc
import pytest

from areal_mesh.controller.prompts import PromptFile
from areal_mesh.controller.run import Run
from areal_mesh.runtime.problems import Problem
from areal_mesh.v1 import controller_pb2
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.controller_peers import SECONDS


async def test_a_groups_end_wakes_none_of_the_leases_that_wait(
    tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    admits = Run.admits

    def counted(run: Run) -> int:
        nonlocal looks
        looks += 1
        return admits(run)

    monkeypatch.setattr(Run, "admits", counted)
    settings = settings_in(tmp_path, batch_groups=6)
    async with controller(settings) as (_, address), asyncio.TaskGroup() as tasks:
        busy, *idle = [await mesh.generator(address, f"generator-{number}") for number in range(7)]
        await mesh.learner(address)  # one publish, to all of them
        held = [lease.group_id for lease in (await busy.lease(most=12)).leases]
        assert len(held) == 12
        waiting = [tasks.create_task(generator.lease(most=8, wait=SECONDS)) for generator in idle]
        for generator in idle:
            await generator.beat()  # behind its lease, on the same connection
        before = looks
        for group_id in held[:9]:
            await busy.end(group_id)
        assert looks == before, "what is stored keeps its place"
        before = looks
        for group_id in held[9:]:
            await busy.end(group_id, controller_pb2.LEASE_END_FILTERED)
        served: set[asyncio.Task[controller_pb2.LeaseGroupsResponse]] = set()
        while len(served) < 3:
            served |= (await asyncio.wait({*waiting} - served, return_when=asyncio.FIRST_COMPLETED))[0]
        assert [len(call.result().leases) for call in served] == [1, 1, 1]
        assert looks - before <= 5 * 3
        for call in {*waiting} - served:
            call.cancel()


async def test_a_leased_problem_is_read_once(tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    at = PromptFile.at

    def counted(prompts: PromptFile, sequence: int) -> Problem:
        read.append(sequence)
        return at(prompts, sequence)

    monkeypatch.setattr(PromptFile, "at", counted)
    async with controller(settings_in(tmp_path)) as (_, address):
        await mesh.learner(address)
        generator = await mesh.generator(address)
        leases = (await generator.lease(most=2)).leases
        assert [lease.sequence for lease in leases] == read == [0, 1]
        assert [lease.group_id for lease in (await generator.lease(most=2)).leases] == [
            lease.group_id for lease in leases
        ]
        assert read == [0, 1, 0, 1], "the same call again has the problems again"


async def test_places_that_a_publish_makes_are_shared_among_those_who_wait(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path, batch_groups=6)) as (_, address), asyncio.TaskGroup() as tasks:
        generators = [await mesh.generator(address, f"generator-{number}") for number in range(3)]
        waiting = [tasks.create_task(generator.lease(most=64, wait=SECONDS)) for generator in generators]
        await generators[0].beat()
        await mesh.learner(address)
        assert [len((await call).leases) for call in waiting] == [4, 4, 4]


async def test_attempts_of_one_call_that_wait_at_once_get_the_same_leases(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        generator = await mesh.generator(address)
        async with asyncio.TaskGroup() as attempts:
            waiting = [attempts.create_task(generator.lease(most=2, key="same", wait=SECONDS)) for _ in range(2)]
            await mesh.learner(address)  # its first publish opens admission
        first, second = ([lease.group_id for lease in attempt.result().leases] for attempt in waiting)
        assert len(first) == 2
        assert first == second


def running_of(order: controller_pb2.NextStepResponse) -> dict[str, int]:
    return {group.group_id: group.oldest_policy_version for group in order.running}


async def test_a_step_comes_with_the_groups_that_run_under_an_older_version_than_the_published_one(
    tmp_path: Path, mesh: Mesh
) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        leases = [lease.group_id for lease in (await generator.lease(most=4)).leases]
        assert running_of(await learner.next_step()) == {}, "a later step can train all that run under this version"
        for group_id in leases[:2]:
            await generator.end(group_id)
        await learner.commit(1, leases[:2])
        fresh = (await generator.lease(most=1, key="fresh")).leases
        assert len(fresh) == 1
        assert running_of(await learner.next_step()) == dict.fromkeys(leases[2:], 0)
        await generator.end(leases[2])
        assert running_of(await learner.next_step()) == {leases[3]: 0}
        await generator.end(leases[3], controller_pb2.LEASE_END_RETURNED)
        assert running_of(await learner.next_step()) == {}, "it will begin anew, under the published version"


async def test_leases_of_a_killed_generator_are_issued_again_under_the_same_ids(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        await mesh.learner(address)
        killed = await mesh.generator(address)
        lost = [
            (lease.group_id, lease.prompt.prompt_id, lease.sampling.seed) for lease in (await killed.lease()).leases
        ]
        restarted = await mesh.generator(address)
        again = (await restarted.lease()).leases
        assert [(lease.group_id, lease.prompt.prompt_id, lease.sampling.seed) for lease in again] == lost
        assert {lease.attempt for lease in again} == {1}
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await killed.beat()
        assert raised.value.code() is grpc.StatusCode.ABORTED


async def test_groups_found_in_the_replay_buffer_are_not_generated_twice(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        await mesh.learner(address)
        generator = await mesh.generator(address)
        stored = (await generator.lease()).leases[0].group_id
        replay = await mesh.replay(address, **{stored: 0})
        await asyncio.wait_for(replay.compared.wait(), SECONDS)
        restarted = await mesh.generator(address)
        again = [lease.group_id for lease in (await restarted.lease()).leases]
        assert len(again) == 3
        assert stored not in again


async def test_the_same_key_gives_the_same_leases_again(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        await mesh.learner(address)
        generator = await mesh.generator(address)
        first, again, other = [(await generator.lease(most=2, key=key)).leases for key in ("a", "a", "b")]
        assert first == again
        assert not {lease.group_id for lease in first} & {lease.group_id for lease in other}
