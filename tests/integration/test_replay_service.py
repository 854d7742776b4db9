"""The replay service over real gRPC, as generator, learner and controller meet it; and killed with -9."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2

from areal_mesh.replay.service import ReplayService
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.errors import retry_seconds, status_details
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import ReplaySettings
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.v1 import common_pb2, replay_pb2, replay_pb2_grpc, rollout_pb2
from tests.integration.replay_peers import LEARNER, heard, leased, replay_settings, standing

TIMEOUT = 30.0

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


@dataclass
class Callers:
    """Stubs of the roles that call the service."""

    generator: Any
    learner: Any
    controller: Any
    standing: HeardStanding = field(default_factory=HeardStanding)


@asynccontextmanager
async def callers_of(port: int) -> AsyncIterator[Callers]:
    roles = ("generator", "learner", "controller")
    channels = [open_channel(f"127.0.0.1:{port}", Identity(role, f"{role}-0"), "bulk") for role in roles]
    try:
        generator, learner, controller = (replay_pb2_grpc.ReplayServiceStub(channel) for channel in channels)
        yield Callers(generator, learner, controller)
    finally:
        for channel in channels:
            await channel.close()


@asynccontextmanager
async def serving(directory: Path, waiting_bytes: int = 1 << 30) -> AsyncIterator[Callers]:
    server = MeshServer("127.0.0.1:0")
    said = heard()
    service = ReplayService(replay_settings(directory, waiting_bytes=waiting_bytes), directory, said)
    service.attach(server)
    await service.start()
    port = await server.start()
    draining = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks, callers_of(port) as callers:
            tasks.create_task(service.run(draining))
            callers.standing = said
            yield callers
            draining.set()
    finally:
        await server.stop(0)
        await service.close()


def make_group(name: str, version: int = 0, responses: int = 2, length: int = 16) -> rollout_pb2.Group:
    tokens = responses * length
    info = rollout_pb2.ResponseInfo(
        length=length,
        finish_reason=rollout_pb2.FINISH_REASON_LENGTH,
        version_spans=[rollout_pb2.VersionSpan(policy_version=version, start=0, end=length)],
        verdict=rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_INCORRECT, reward=-5.0),
    )
    group = rollout_pb2.Group(
        group_id=name,
        prompt_id=f"prompt of {name}",
        stage=common_pb2.Stage(index=1, name="16K", max_response_tokens=length),
        prompt_token_ids=encode_int32([1, 2, 3]),
        response_token_ids=encode_int32([index % 1000 for index in range(tokens)]),
        behaviour_log_probs=encode_float32([-1.25] * tokens),
        responses=[info] * responses,
        temperature=0.6,
    )
    group.crc32c = payload_crc32c(group)
    return group


async def append(callers: Callers, *groups: rollout_pb2.Group) -> list[bool]:
    requests = [leased(group) for group in groups]
    return [(await callers.generator.AppendGroup(request, timeout=TIMEOUT)).duplicate for request in requests]


async def draw(
    callers: Callers,
    step: int,
    groups: int,
    staleness: int = 1,
    wait: int = 0,
    running: Mapping[str, int] | None = None,
) -> tuple[replay_pb2.DrawHeader, list[rollout_pb2.Group]]:
    """Draws a step as a run does whose batches have so many groups."""
    callers.standing.hear(standing(batch_groups=groups, max_staleness=staleness))
    request = replay_pb2.DrawBatchRequest(
        step=step,
        batch_groups=groups,
        policy_version=max(0, step - 1),
        max_staleness=staleness,
        wait=duration_pb2.Duration(seconds=wait),
        running=[
            rollout_pb2.RunningGroup(group_id=group_id, oldest_policy_version=oldest)
            for group_id, oldest in (running or {}).items()
        ],
        **LEARNER,
    )
    parts = [part async for part in callers.learner.DrawBatch(request, timeout=TIMEOUT)]
    assert [part.WhichOneof("part") for part in parts] == ["header"] + ["group"] * (len(parts) - 1)
    return parts[0].header, [part.group for part in parts[1:]]


async def code_of(call: Any) -> tuple[grpc.StatusCode, grpc.aio.AioRpcError]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value


def ids(groups: Sequence[Any]) -> list[str]:
    return [group.group_id for group in groups]


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
