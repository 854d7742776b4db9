"""The replay service over real gRPC, as generator, learner and controller meet it."""

import asyncio
from pathlib import Path
from typing import Any

import grpc

from areal_mesh.replay.service import ReplayService
from areal_mesh.runtime.errors import retry_seconds, status_details
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import ReplaySettings
from areal_mesh.v1 import common_pb2, replay_pb2
from tests.integration.replay_callers import TIMEOUT, append, callers_of, code_of, draw, ids, make_group, serving
from tests.integration.replay_peers import LEARNER, heard, leased, replay_settings


async def test_a_batch_comes_back_as_it_was_appended_and_again_after_a_restart(tmp_path: Path) -> None:
    groups = [make_group(f"g{n}", length=3000) for n in range(4)]
    async with serving(tmp_path) as callers:
        assert await append(callers, *groups, groups[0]) == [False] * 4 + [True]
        header, drawn = await draw(callers, 1, 3)
        assert header == replay_pb2.DrawHeader(complete=True, groups=3)
        assert drawn == groups[:3]
    async with serving(tmp_path) as callers:
        assert await draw(callers, 1, 3, staleness=0) == (header, groups[:3])


async def test_a_draw_waits_for_the_group_that_completes_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as callers, asyncio.TaskGroup() as tasks:
        await append(callers, make_group("a"))
        drawing = tasks.create_task(draw(callers, 1, 2, wait=25))
        await append(callers, make_group("b"))
        header, drawn = await drawing
        assert header.complete
        assert ids(drawn) == ["a", "b"]


async def test_a_draw_is_held_for_a_running_group_that_no_later_step_could_train(tmp_path: Path) -> None:
    running = {"slow": 0}
    async with serving(tmp_path) as callers, asyncio.TaskGroup() as tasks:
        await append(callers, make_group("quick", version=1))
        header, drawn = await draw(callers, 2, 1, wait=0, running=running)
        assert (header.complete, drawn) == (False, []), "to be asked for again: what runs may have ended by now"
        drawing = tasks.create_task(draw(callers, 2, 1, wait=25, running=running))
        await append(callers, make_group("slow", version=0))
        held = ids((await drawing)[1]) or ids((await draw(callers, 2, 1, running=running))[1])
        assert held == ["slow"]
        assert ids((await draw(callers, 3, 1, running={"too-old": 0}))[1]) == ["quick"]


async def test_a_draw_is_to_be_asked_for_again_when_groups_were_leased_since_it_was_said_what_runs(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as callers:
        await append(callers, make_group("younger", version=2))
        header, drawn = await draw(callers, 3, 1, wait=25, published=1)
        assert (header.complete, drawn) == (False, [])
        assert ids((await draw(callers, 3, 1, published=2))[1]) == ["younger"]


async def test_an_incomplete_draw_names_the_groups_it_found_too_old_each_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as callers:
        await append(callers, make_group("old", version=1), make_group("fresh", version=2))
        for _ in range(2):
            header, drawn = await draw(callers, 4, 2)
            assert (header.complete, list(header.stale_group_ids), drawn) == (False, ["old"], [])
        await append(callers, make_group("new", version=3))
        header, drawn = await draw(callers, 4, 2)
        assert (header.complete, list(header.stale_group_ids), ids(drawn)) == (True, ["old"], ["fresh", "new"])


async def test_a_full_buffer_says_when_to_try_again(tmp_path: Path) -> None:
    size = make_group("a").ByteSize()
    async with serving(tmp_path, waiting_bytes=size + size // 2) as callers:
        await append(callers, make_group("a"))
        code, error = await code_of(append(callers, make_group("b")))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 0 < retry_seconds(error, default=-1) < 10


async def test_bad_requests_are_refused_by_field(tmp_path: Path) -> None:
    bad = make_group("a")
    bad.behaviour_log_probs += b"\0\0\0\0"
    async with serving(tmp_path) as callers:
        code, error = await code_of(append(callers, bad))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert status_details(error)[0].field_violations[0].field == "group.behaviour_log_probs"
        bad_draws: list[dict[str, Any]] = [
            {"step": 0, "groups": 1},
            {"step": 1, "groups": 0},
            {"step": 1, "groups": 1, "wait": -1},
            {"step": 1, "groups": 1, "running": {"g1": -1}},
            {"step": 1, "groups": 1, "running": {"no id": 0}},
        ]
        for arguments in bad_draws:
            code, _ = await code_of(draw(callers, **arguments))
            assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_released_step_is_refused_and_its_groups_stay_known(tmp_path: Path) -> None:
    async with serving(tmp_path) as callers:
        await append(callers, make_group("a"))
        await draw(callers, 1, 1)
        release = replay_pb2.ReleaseStepsRequest(step=1, **LEARNER)
        for _ in range(2):
            await callers.learner.ReleaseSteps(release, timeout=TIMEOUT)
        code, error = await code_of(draw(callers, 1, 1))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "released" in (error.details() or "")
        assert await append(callers, make_group("a")) == [True]


async def test_eviction_and_the_ledger_s_questions(tmp_path: Path) -> None:
    async with serving(tmp_path) as callers:
        await append(callers, make_group("held"), make_group("old"), make_group("fresh", version=2))
        await draw(callers, 1, 1)
        evict = replay_pb2.EvictStaleRequest(policy_version=2, max_staleness=1)
        for _ in range(2):
            evicted = await callers.controller.EvictStale(evict, timeout=TIMEOUT)
            assert list(evicted.group_ids) == ["old"]
        find = replay_pb2.FindGroupsRequest(group_ids=["fresh", "unknown", "old", "held"])
        found = await callers.controller.FindGroups(find, timeout=TIMEOUT)
        assert [(group.group_id, group.oldest_policy_version, group.stale) for group in found.groups] == [
            ("fresh", 2, False),
            ("old", 0, True),
            ("held", 0, False),
        ]
        ask = replay_pb2.GetReplayStatisticsRequest(policy_version=3)
        statistics = await callers.controller.GetReplayStatistics(ask, timeout=TIMEOUT)
        assert (statistics.waiting_groups, statistics.consumed_groups) == (1, 1)
        assert statistics.waiting_bytes == make_group("fresh", version=2).ByteSize()
        assert dict(statistics.staleness) == {1: 1}
        assert dict(statistics.dropped) == {"duplicate": 0, "stale": 1, "set_aside": 0}
        assert statistics.bytes_limit == ReplaySettings().waiting_bytes
        assert statistics.bytes_on_disk >= ReplaySettings().segment_bytes


async def test_only_the_roles_of_the_contract_may_call(tmp_path: Path) -> None:
    async with serving(tmp_path) as callers:
        request = leased(make_group("a"))
        code, _ = await code_of(callers.learner.AppendGroup(request, timeout=TIMEOUT))
        assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_calls_before_the_log_is_read_are_told_to_come_again(tmp_path: Path) -> None:
    server = MeshServer("127.0.0.1:0")
    ReplayService(replay_settings(tmp_path), tmp_path, heard()).attach(server)
    port = await server.start()
    async with callers_of(port) as callers:
        code, _ = await code_of(append(callers, make_group("a")))
        assert code is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)


async def test_a_heartbeat_reports_what_the_buffer_holds(tmp_path: Path) -> None:
    service = ReplayService(replay_settings(tmp_path), tmp_path, heard())
    await service.start()
    report = service.report()
    assert report.state == common_pb2.SERVICE_STATE_SERVING
    assert report.metrics["waiting_groups"] == 0
    draining = asyncio.Event()
    draining.set()
    async with asyncio.timeout(TIMEOUT):
        await service.run(draining)
    assert service.report().state == common_pb2.SERVICE_STATE_DRAINING
    await service.close()
