"""A replay service on a port of its own, and stubs of the roles that call it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
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
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.v1 import common_pb2, replay_pb2, replay_pb2_grpc, rollout_pb2
from tests.integration.replay_peers import LEARNER, heard, leased, replay_settings, standing

TIMEOUT = 30.0


@dataclass
class Callers:
    """Stubs of the roles that call the service."""

    generator: Any
    learner: Any
    controller: Any
    address: str
    standing: HeardStanding = field(default_factory=HeardStanding)


@asynccontextmanager
async def callers_of(port: int) -> AsyncIterator[Callers]:
    roles = ("generator", "learner", "controller")
    channels = [open_channel(f"127.0.0.1:{port}", Identity(role, f"{role}-0"), "bulk") for role in roles]
    try:
        generator, learner, controller = (replay_pb2_grpc.ReplayServiceStub(channel) for channel in channels)
        yield Callers(generator, learner, controller, f"127.0.0.1:{port}")
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
    published: int | None = None,
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
        published_version=published,
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
