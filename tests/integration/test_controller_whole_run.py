"""A whole run of the controller among members without models: its stages, and how it ends."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.controller.service import build
from areal_mesh.runtime.errors import CannotGoOn
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.v1 import common_pb2, controller_pb2, status_pb2
from tests.integration.controller_mesh import Mesh, settings_in, states_of
from tests.integration.controller_peers import SECONDS


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
        assert states_of(await mesh.status(address))["learner"] == common_pb2.SERVICE_STATE_LOST
        restarted = await mesh.learner(address, version=4)
        assert (await restarted.beat()).drain
        await restarted.leave()
        assert (await replay.beat()).drain
        await replay.leave()
        await asyncio.wait_for(ending, SECONDS)
    await server.stop(0)
    await service.close()


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
