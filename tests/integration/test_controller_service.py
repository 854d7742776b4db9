"""The controller over real gRPC, among a learner, generators and a buffer that keep its protocol without models."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from areal_mesh.client import MeshClient
from areal_mesh.controller.channels import Channels
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.prompts import PromptFile
from areal_mesh.controller.run import Run
from areal_mesh.controller.service import build
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import CannotGoOn, StartupError
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.problem_lines import Problem
from areal_mesh.runtime.registration import HeartbeatReport, Membership
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, status_pb2, status_pb2_grpc
from tests.integration.controller_peers import SECONDS, Mesh, Stub, controller, settings_in


def _states(status: status_pb2.RunStatus) -> dict[str, common_pb2.ServiceState.ValueType]:
    return {service.service_id: service.state for service in status.services}


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    async with AsyncExitStack() as stack:
        yield Mesh(stack)


async def test_a_run_goes_through_its_stages_publishes_every_version_and_ends(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path)
    context = ServiceContext(settings, Identity("controller", "controller"), "")
    service = build(context)
    server = MeshServer(settings.controller.listen)
    service.attach(server)
    address = f"127.0.0.1:{await server.start()}"
    async with asyncio.TaskGroup() as tasks:
        ending = tasks.create_task(service.run(context.draining))
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        waiting: list[controller_pb2.Lease] = []
        limits = []
        for step in range(1, 5):
            order = await learner.next_step()
            limits.append(order.stage.max_response_tokens)
            assert (order.step, order.restart_optimizer) == (step, step == 3)
            if len(waiting) < 2:
                waiting += (await generator.lease(key=str(step))).leases
            batch, waiting = waiting[:2], waiting[2:]
            for lease in batch:
                await generator.end(lease.group_id)
            answer = await learner.commit(step, [lease.group_id for lease in batch], group_reward_std=step / 8)
            assert answer.finished is (step == 4)
            assert (await mesh.status(address)).published_version == step
        assert limits == [8, 8, 16, 16]
        assert generator.received == [0, 1, 2, 3, 4]
        assert (await generator.lease(key="late")).finished
        assert (await learner.next_step()).finished
        assert (await generator.beat()).drain
        status = await mesh.status(address)
        assert status.state == status_pb2.RUN_STATE_FINISHED
        assert status.groups.leased == status.groups.trained + status.groups.open == 8
        assert {"reward": 4.0, "group_reward_std": 0.5}.items() <= dict(status.step_metrics).items()
        await generator.leave()
        await learner.leave()
        await asyncio.wait_for(ending, SECONDS)
    await server.stop(0)
    await service.close()
    check_files_of_the_whole_run(settings.run_directory)


def check_files_of_the_whole_run(directory: Path) -> None:
    summary = json.loads((directory / "summary.json").read_text())
    assert (summary["steps"], summary["policy_version"], summary["weight_updates"]) == (4, 4, 5)
    assert summary["reward_curve"] == [1.0, 2.0, 3.0, 4.0]
    assert summary["checksums"] == {"agreed": 5}
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["stage_name"]) for line in lines] == [
        (1, "short"),
        (2, "short"),
        (3, "long"),
        (4, "long"),
    ]
    assert all(line["pause_seconds"] == pytest.approx(0.01) for line in lines)


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


async def test_a_member_beats_at_the_pace_that_each_answer_names(tmp_path: Path) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        membership = Membership(address, Identity("verifier", "verifier-0"), RunIdentity("mesh"))
        await membership.register("127.0.0.1:1", -1, 0)
        membership.interval_seconds = 9.0
        await membership.beat(HeartbeatReport())
        assert membership.interval_seconds == pytest.approx(0.1)
        await membership.close()


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


async def test_a_lost_member_that_calls_again_is_published_to_at_once(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path, {"lease_seconds": 0.4, "heartbeat_seconds": 0.2})
    async with controller(settings) as (_, address):
        generator = await mesh.generator(address)
        async for update in mesh.watch(address):
            if _states(update)["generator-0"] == common_pb2.SERVICE_STATE_LOST:
                break
        learner = await mesh.learner(address)
        generator.state = common_pb2.SERVICE_STATE_SERVING
        await generator.beat()
        async with asyncio.timeout(2.0):
            await generator.receiving.wait()
        await learner.beat()


async def test_attempts_of_one_call_that_wait_at_once_get_the_same_leases(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        generator = await mesh.generator(address)
        async with asyncio.TaskGroup() as attempts:
            waiting = [attempts.create_task(generator.lease(most=2, key="same", wait=SECONDS)) for _ in range(2)]
            await mesh.learner(address)  # its first publish opens admission
        first, second = ([lease.group_id for lease in attempt.result().leases] for attempt in waiting)
        assert len(first) == 2
        assert first == second


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


async def test_a_learner_lost_after_the_last_step_is_waited_for_until_it_leaves(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path, {"lease_seconds": 0.4, "drain_seconds": 0.3}, sync_every=2, max_staleness=3)
    context = ServiceContext(settings, Identity("controller", "controller"), "")
    service = build(context)
    server = MeshServer(settings.controller.listen)
    service.attach(server)
    address = f"127.0.0.1:{await server.start()}"
    async with asyncio.TaskGroup() as tasks:
        ending = tasks.create_task(service.run(context.draining))
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        ids = [lease.group_id for lease in (await generator.lease()).leases]
        assert len(ids) == 8
        for step in range(1, 5):
            for group_id in ids[2 * step - 2 : 2 * step]:
                await generator.end(group_id)
            assert (await learner.commit(step, ids[2 * step - 2 : 2 * step])).finished == (step == 4)
        await generator.leave()
        replay = await mesh.replay(address)
        for _ in range(5):  # the learner is silent; it is lost, and its time to drain passes
            assert not (await replay.beat()).drain
            assert not (await asyncio.wait([ending], timeout=0.2))[0]
        assert _states(await mesh.status(address))["learner"] == common_pb2.SERVICE_STATE_LOST
        restarted = await mesh.learner(address, version=4)
        assert (await restarted.beat()).drain
        await restarted.leave()
        assert (await replay.beat()).drain
        await replay.leave()
        await asyncio.wait_for(ending, SECONDS)
    await server.stop(0)
    await service.close()


async def test_channels_of_members_that_left_are_closed() -> None:
    channels = Channels(Identity("controller", "controller"))
    first, second = channels.to("127.0.0.1:1"), channels.to("127.0.0.1:2")
    assert channels.to("127.0.0.1:1") is first
    await channels.close_all_but({"127.0.0.1:2"})
    assert channels.addresses == {"127.0.0.1:2"}
    assert first.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    assert second.get_state() is grpc.ChannelConnectivity.IDLE
    assert channels.to("127.0.0.1:1") is not first
    await channels.close()
    assert channels.addresses == frozenset()


async def test_a_replaced_members_channel_is_closed_by_the_controller(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (service, address):
        await mesh.learner(address)
        first = await mesh.generator(address)
        assert (await first.lease(most=1)).leases
        assert first.address in service.channels.addresses
        second = await mesh.generator(address)
        assert (await second.lease()).leases
        async with asyncio.timeout(SECONDS):
            while first.address in service.channels.addresses:
                assert not (await second.lease(key="full", wait=0.2)).leases, "a long poll: every place is taken"
        assert second.address in service.channels.addresses


async def test_a_restarted_controller_carries_on_where_the_ledger_ends(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path)
    async with controller(settings) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        leases = (await generator.lease(most=4)).leases
        for lease in leases[:2]:
            await generator.end(lease.group_id)
        await learner.commit(1, [lease.group_id for lease in leases[:2]])
        assert (await mesh.status(address)).published_version == 1
    async with controller(settings) as (_, address):
        await generator.join(address)
        answer = await learner.join(address)
        assert (answer.policy_version, answer.step) == (1, 1)
        held = [lease.group_id for lease in leases[2:]]
        assert (await generator.beat(*held)).lost_group_ids == [], "its leases are still its own"
        await learner.commit(1, [lease.group_id for lease in leases[:2]])
        again = await mesh.status(address)
        assert (again.step, again.published_version) == (1, 1), "a step that was committed before changes nothing"
        assert (await learner.next_step()).step == 2
        status = await mesh.status(address)
        assert (status.groups.leased, status.groups.trained, status.groups.open) == (4, 2, 2)
        fresh = (await generator.lease(most=8)).leases
        assert [lease.sequence for lease in fresh] == [4, 5]


def _running(order: controller_pb2.NextStepResponse) -> dict[str, int]:
    return {group.group_id: group.oldest_policy_version for group in order.running}


async def test_a_step_comes_with_the_groups_that_run_under_an_older_version_than_the_published_one(
    tmp_path: Path, mesh: Mesh
) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        leases = [lease.group_id for lease in (await generator.lease(most=4)).leases]
        assert _running(await learner.next_step()) == {}, "a later step can train all that run under this version"
        for group_id in leases[:2]:
            await generator.end(group_id)
        await learner.commit(1, leases[:2])
        fresh = (await generator.lease(most=1, key="fresh")).leases
        assert len(fresh) == 1
        assert _running(await learner.next_step()) == dict.fromkeys(leases[2:], 0)
        await generator.end(leases[2])
        assert _running(await learner.next_step()) == {leases[3]: 0}
        await generator.end(leases[3], controller_pb2.LEASE_END_RETURNED)
        assert _running(await learner.next_step()) == {}, "it will begin anew, under the published version"


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


async def test_pause_holds_leases_and_resume_lets_them_go(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        assert len((await generator.lease(most=1)).leases) == 1
        channel = await mesh.stack.enter_async_context(open_channel(address, Identity("client", "person")))
        person: Stub = controller_pb2_grpc.ControllerServiceStub(channel)
        await person.Pause(controller_pb2.PauseRequest(), timeout=SECONDS)
        assert (await generator.lease(key="paused", wait=0.2)).leases == []
        assert (await mesh.status(address)).state == status_pb2.RUN_STATE_PAUSED
        await person.Resume(controller_pb2.ResumeRequest(), timeout=SECONDS)
        leases = (await generator.lease(key="resumed")).leases
        with pytest.raises(grpc.aio.AioRpcError, match="has no step yet") as raised:
            await person.AdvanceStage(controller_pb2.AdvanceStageRequest(from_stage=0), timeout=SECONDS)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await learner.commit(1, [lease.group_id for lease in leases[:2]])
        advanced = await person.AdvanceStage(controller_pb2.AdvanceStageRequest(from_stage=0), timeout=SECONDS)
        assert advanced.stage.name == "long"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await person.AdvanceStage(controller_pb2.AdvanceStageRequest(from_stage=1), timeout=SECONDS)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await person.Stop(controller_pb2.StopRequest(reason="enough"), timeout=SECONDS)
        with pytest.raises(grpc.aio.AioRpcError, match="the run is stopping") as raised:
            await person.Resume(controller_pb2.ResumeRequest(), timeout=SECONDS)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await learner.next_step()).finished
        assert (await learner.beat()).drain


async def test_a_watcher_sees_the_run_change(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        channel = await mesh.stack.enter_async_context(open_channel(address, Identity("client", "person")))
        stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
        request = status_pb2.WatchStatusRequest(interval=to_duration(0.1))
        states = []
        async for update in stub.WatchStatus(request, timeout=SECONDS):
            states.append(update.status.state)
            if len(states) == 1:
                await mesh.learner(address)
                await mesh.generator(address)
            if update.status.state == status_pb2.RUN_STATE_RUNNING:
                break
        assert states[0] == status_pb2.RUN_STATE_STARTING
        assert states[-1] == status_pb2.RUN_STATE_RUNNING


async def test_a_watcher_is_told_each_step_once_however_many_came_between_two_statuses(
    tmp_path: Path, mesh: Mesh
) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        channel = await mesh.stack.enter_async_context(open_channel(address, Identity("client", "person")))
        stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
        # The second status comes so late that all steps but the first lie between the two.
        watch = stub.WatchStatus(status_pb2.WatchStatusRequest(interval=to_duration(1.0)), timeout=SECONDS)
        told: list[int] = []
        async for update in watch:
            told += [step.step for step in update.steps]
            if update.status.step == 0:
                for step in range(1, 4):
                    leases = (await generator.lease(most=2, key=str(step))).leases
                    await learner.commit(step, [lease.group_id for lease in leases])
            if update.status.step == 3:
                assert [(step.stage.name, step.metrics["reward"]) for step in update.steps][-1] == ("long", 3.0)
                break
        assert told == [1, 2, 3]
        for after, steps in ((0, [1, 2, 3]), (2, [3]), (3, []), (None, [3])):
            request = status_pb2.WatchStatusRequest(interval=to_duration(1.0), after_step=after)
            stream = stub.WatchStatus(request, timeout=SECONDS)
            first: status_pb2.WatchStatusResponse = await anext(aiter(stream))
            assert [step.step for step in first.steps] == steps
            stream.cancel()


async def test_tokens_of_groups_whose_generator_died_before_its_report_are_known_by_the_commit(
    tmp_path: Path, mesh: Mesh
) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        reported, unreported = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        await generator.end(reported)
        with pytest.raises(grpc.aio.AioRpcError, match="group_tokens") as raised:
            await learner.commit(1, [reported, unreported], [20])
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await learner.commit(1, [reported, unreported], [20, 22])
        status = await mesh.status(address)
        assert (status.tokens_generated, status.tokens_trained) == (42, 42)


async def test_requests_that_make_no_sense_are_refused_by_field(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        unsaid = generator.end("g00000000", controller_pb2.LEASE_END_UNSPECIFIED)
        for call, field_name in ((generator.lease(most=0), "max_groups"), (unsaid, "end")):
            with pytest.raises(grpc.aio.AioRpcError, match=field_name) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for late, code in (
            (learner.commit(7, ["g00000000", "g00000001"]), grpc.StatusCode.FAILED_PRECONDITION),
            (generator.end("g99999999"), grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await late
            assert raised.value.code() is code


@pytest.mark.parametrize("run", [RunIdentity("mesh", "two"), RunIdentity("other", "one"), RunIdentity("other")])
async def test_a_service_of_another_run_is_refused_and_replaces_nobody(
    tmp_path: Path, mesh: Mesh, run: RunIdentity
) -> None:
    async with controller(settings_in(tmp_path), run_id="one") as (_, address):
        await mesh.learner(address)
        generator = await mesh.generator(address, run=RunIdentity("mesh", "one"))
        held = [lease.group_id for lease in (await generator.lease()).leases]
        refusal = rf"serves the run mesh \(id one\), and generator-0 belongs to {re.escape(str(run))}; "
        with pytest.raises(grpc.aio.AioRpcError, match=refusal) as raised:
            await mesh.generator(address, run=run)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await generator.beat(*held)).lost_group_ids == []
        status = await mesh.status(address)
        found = {service.service_id: (service.address, service.starts) for service in status.services}
        assert found["generator-0"] == (generator.address, 1)
        assert (status.run_name, status.run_id) == ("mesh", "one")


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json"])
async def test_files_of_a_user_in_the_runs_directory_are_left_alone(tmp_path: Path, name: str) -> None:
    settings = settings_in(tmp_path)
    mine = settings.run_directory / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(StartupError, match=rf"{mine}: is there without a ledger\.db .* left as it is; move it"):
        build(ServiceContext(settings, Identity("controller", "controller"), ""))
    assert mine.read_text() == "mine"


async def test_two_controllers_of_one_run_are_one_too_many(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with controller(settings):
        with pytest.raises(StartupError, match="another controller"):
            build(ServiceContext(settings, Identity("controller", "controller"), ""))
    changed = settings_in(tmp_path, batch_groups=3)
    with pytest.raises(StartupError, match="batch_groups"):
        build(ServiceContext(changed, Identity("controller", "controller"), ""))


async def test_a_run_whose_groups_all_end_in_vain_ends_and_says_why(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path, {"fruitless_groups": 5})
    context = ServiceContext(settings, Identity("controller", "controller"), "")
    service = build(context)
    server = MeshServer(settings.controller.listen)
    service.attach(server)
    address = f"127.0.0.1:{await server.start()}"
    async with asyncio.TaskGroup() as tasks:
        ending = tasks.create_task(outcome_of(service.run(context.draining)))
        await mesh.learner(address)
        generator = await mesh.generator(address)
        for number in range(5):
            (lease,) = (await generator.lease(most=1, key=str(number))).leases
            if number == 4:
                assert (await mesh.status(address)).end_reasons == {"filtered: prompt too long: N tokens": 4}
            await generator.end(
                lease.group_id, controller_pb2.LEASE_END_FILTERED, reason=f"prompt too long: {number} tokens"
            )
        failure = await asyncio.wait_for(ending, SECONDS)
    await server.stop(0)
    await service.close()
    assert isinstance(failure, CannotGoOn)
    assert (
        "5 groups in a row ended filtered or failed, and none was stored; 5 of them: prompt too long: 4 tokens"
        in str(failure)
    )
    summary = json.loads((settings.run_directory / "summary.json").read_text())
    assert (summary["finished"], summary["end_reasons"]) == (False, {"filtered: prompt too long: N tokens": 5})


async def outcome_of(work: Coroutine[Any, Any, None]) -> Exception | None:
    try:
        await work
    except CannotGoOn as error:
        return error
    return None


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
        assert _states(status)["generator-0"] != common_pb2.SERVICE_STATE_LOST, "it has its weights, and was not lost"


async def reasons_seen(address: str, wanted: Callable[[str], bool]) -> str:
    """Why generator-0 waits for weights, as soon as the reason is a wanted one."""
    async with asyncio.timeout(SECONDS), MeshClient.connect(address) as client:
        async for status in client.watch(0.1):
            for service in status.services:
                if service.service_id == "generator-0" and wanted(service.waits_for):
                    return service.waits_for
    raise AssertionError("the controller ended")
