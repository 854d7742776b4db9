"""The controller's calls over real gRPC: members, people, watchers, and a second life."""

import asyncio
import re
from pathlib import Path

import grpc
import pytest

from areal_mesh.controller.channels import Channels
from areal_mesh.controller.service import build
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.registration import HeartbeatReport, Membership
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc, status_pb2, status_pb2_grpc
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.controller_peers import SECONDS, Stub


async def test_a_member_beats_at_the_pace_that_each_answer_names(tmp_path: Path) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        membership = Membership(address, Identity("verifier", "verifier-0"), RunIdentity("mesh"))
        await membership.register("127.0.0.1:1", -1, 0)
        membership.interval_seconds = 9.0
        await membership.beat(HeartbeatReport())
        assert membership.interval_seconds == pytest.approx(0.1)
        await membership.close()


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
