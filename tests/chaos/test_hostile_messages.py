"""A live mesh under hostile messages: nothing crashes, nothing is believed, and the run goes on, also when restarted.

20,000 messages over every method of every service, and each message that used to end a run for good. Over TLS too,
where callers have certificates: 2,000 messages, or as many as AREAL_MESH_TEST_TLS_MESSAGES says.
"""

import asyncio
import ctypes
import gc
import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest

from areal_mesh.runtime.methods import longest_request
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import controller_pb2, generator_pb2, learner_pb2, replay_pb2, weights_pb2
from tests.chaos.hostile import OBEYED, Target, changed_messages, random_messages
from tests.integration.live_mesh import BATCH_GROUPS, MAX_RESPONSE_TOKENS, RESPONSES, LiveMesh, live_mesh, live_settings
from tests.integration.tls_mesh import certificate_folder, write_tokens

pytestmark = pytest.mark.timeout(400)

SEED = 20_000
RANDOM_MESSAGES = CHANGED_MESSAGES = 10_000
WARM_SHARE = 0.1
TLS_MESSAGES = int(os.environ.get("AREAL_MESH_TEST_TLS_MESSAGES", "2000"))
AT_ONCE = 32
DEADLINE = 0.25
MOST_GROWTH_BYTES = 64 << 20
# Of a message that the contract takes, by a caller who may call: what a service may say to a stranger.
_ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
_LEAKS = ("Traceback", "<class", "site-packages", "/areal_mesh/controller", ".py")


def expected(target: Target, caller: str, request: bytes, over_tls: bool) -> set[grpc.StatusCode]:
    if len(request) > longest_request([f"areal_mesh.v1.{target.service}"]):
        return {grpc.StatusCode.RESOURCE_EXHAUSTED}
    if over_tls and caller == "nobody":
        return {grpc.StatusCode.UNAUTHENTICATED}
    if not target.allows(caller):
        return {grpc.StatusCode.PERMISSION_DENIED}
    return _ANSWERS if target.takes(request) else {grpc.StatusCode.INVALID_ARGUMENT}


class Storm:
    """Sends messages to a mesh, many at once, and holds each answer to what it should be."""

    def __init__(self, mesh: LiveMesh, stack: AsyncExitStack) -> None:
        self._mesh = mesh
        self._stack = stack
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}
        self._over_tls = mesh.settings.security.certificates is not None
        self.codes: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def send(self, messages: Iterable[tuple[Target, str, bytes]]) -> None:
        waiting = iter(messages)

        async def lane() -> None:
            for target, caller, request in waiting:
                if not (target.method.name in OBEYED and target.takes(request)):
                    await self._one(target, caller, request)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(lane())

    async def _channel(self, role: str, caller: str) -> grpc.aio.Channel:
        key = (role, caller if self._over_tls else "")
        if key not in self._channels:
            self._channels[key] = await self._stack.enter_async_context(self._mesh.raw_channel(role, caller))
        return self._channels[key]

    async def _one(self, target: Target, caller: str, request: bytes) -> None:
        channel = await self._channel(target.role, caller)
        kind = channel.unary_stream if target.method.server_streaming else channel.unary_unary
        make: Any = kind(target.path)
        call = make(request, timeout=DEADLINE, metadata=self._mesh.metadata(caller))
        code, details = grpc.StatusCode.OK, ""
        try:
            if target.method.server_streaming:
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details() or ""
        self.codes[code.name] += 1
        busy = code is grpc.StatusCode.DEADLINE_EXCEEDED
        fits = code in expected(target, caller, request, self._over_tls)
        if (not fits and not busy) or any(leak in details for leak in _LEAKS):
            self.wrong.append(f"{target.path} by {caller}: {code.name} {details!r} for {request[:200]!r}")


def held_bytes() -> int:
    """What this process holds, without what its allocator keeps of memory given back: that swings by 90 MiB."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


def check_ledger(settings: Any) -> int:
    """Books that balance, whatever was claimed; returns the steps."""
    with sqlite3.connect(settings.run_directory / "ledger.db") as ledger:
        trained = dict(ledger.execute("SELECT step, count(*) FROM groups WHERE state = 'trained' GROUP BY step"))
        steps = ledger.execute("SELECT count(*) FROM steps").fetchone()[0]
        assert set(trained.values()) <= {BATCH_GROUPS}
        assert len(trained) == steps
        assert ledger.execute("SELECT max(tokens) FROM groups").fetchone()[0] <= RESPONSES * MAX_RESPONSE_TOKENS
        odd = ledger.execute("SELECT group_id FROM groups WHERE group_id NOT GLOB 'g[0-9]*'").fetchall()
        assert odd == []
        return int(steps)


async def goes_on(mesh: LiveMesh, steps: int = 3) -> None:
    before = (await mesh.status()).step
    await mesh.until_step(before + steps)


async def test_twenty_thousand_hostile_messages_change_nothing(tmp_path: Path) -> None:
    await change_nothing(live_settings(tmp_path), RANDOM_MESSAGES, CHANGED_MESSAGES)


async def test_hostile_messages_of_callers_with_certificates_change_nothing(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certificate_folder(certs)
    token = write_tokens(certs, anna="operator")["anna"]
    settings = live_settings(tmp_path, certificates=certs)
    await change_nothing(settings, TLS_MESSAGES // 2, TLS_MESSAGES // 2, token)


async def change_nothing(settings: RunSettings, random: int, changed: int, token: str = "") -> None:
    """Sends so many messages to a live mesh, which goes on, and once more when it is started again."""
    mixed = list(itertools.chain(random_messages(SEED, random), changed_messages(SEED + 1, changed)))
    mixed = [mixed[index] for half in range(2) for index in range(half, len(mixed), 2)]
    warm = round(WARM_SHARE * len(mixed))
    async with live_mesh(settings, token) as mesh, AsyncExitStack() as stack:
        await goes_on(mesh)
        storm = Storm(mesh, stack)
        await storm.send(mixed[:warm])
        rest, memory = mixed[warm:], [held_bytes()]
        quarter = -(-len(rest) // 4)
        for begin in range(0, len(rest), quarter):
            await storm.send(rest[begin : begin + quarter])
            memory.append(held_bytes())
        grown = memory[-1] - memory[0]
        quarters = " ".join(f"{(after - before) / 2**20:+.1f}" for before, after in itertools.pairwise(memory))
        print(f"{sum(storm.codes.values())} answers {dict(storm.codes)}, memory by quarter {quarters} MiB")
        assert not storm.wrong, "\n".join(storm.wrong[:10])
        assert grown < MOST_GROWTH_BYTES
        await goes_on(mesh)
        ended = mesh.services["controller"]._run.groups.counts
        assert ended.leased == ended.trained + ended.stale + ended.filtered + ended.failed + ended.open
    steps = check_ledger(settings)
    async with live_mesh(settings, token) as mesh:
        await mesh.until_step(steps + 3)
    check_ledger(settings)


Deadly = tuple[str, str, str, Any, set[grpc.StatusCode]]
_CONTROLLER, _REPLAY = "/areal_mesh.v1.ControllerService/", "/areal_mesh.v1.ReplayService/"
_LEARNER, _GENERATOR = "/areal_mesh.v1.LearnerService/", "/areal_mesh.v1.GeneratorService/"
_STRANGER: dict[str, Any] = {"service_id": "learner-2", "incarnation": "one"}
_INVALID = {grpc.StatusCode.INVALID_ARGUMENT}
_REFUSED = {grpc.StatusCode.FAILED_PRECONDITION}
_UNKNOWN = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DEADLINE_EXCEEDED}


def deadly(mesh: LiveMesh) -> list[Deadly]:
    """Each message that ended a run for good, or took its memory, by a service that is only broken."""
    return [*deadly_to_the_controller(mesh), *deadly_to_replay(mesh), *deadly_to_the_weights(mesh)]


def deadly_to_the_controller(mesh: LiveMesh) -> list[Deadly]:
    learner, generator = mesh.contexts["learner"].identity, mesh.contexts["generator"].identity
    ended: dict[str, Any] = {
        "group_id": "g00000000",
        "end": controller_pb2.LEASE_END_STORED,
        "response_tokens": 2**40,
    }
    end = controller_pb2.EndLeaseRequest(**_STRANGER, **ended)
    own_end = controller_pb2.EndLeaseRequest(service_id="generator-0", incarnation=generator.incarnation, **ended)
    committed: dict[str, Any] = {"step": 500, "policy_version": 500}
    commit = controller_pb2.CommitStepRequest(
        service_id=learner.service_id, incarnation=learner.incarnation, group_ids=["g00000000"], **committed
    )
    whole_batch = [f"g{number:08d}" for number in range(BATCH_GROUPS)]
    strange_commit = controller_pb2.CommitStepRequest(group_ids=whole_batch, **committed, **_STRANGER)
    second = controller_pb2.RegisterRequest(**_STRANGER, role=5, address="127.0.0.1:1")  # type: ignore[arg-type]
    return [
        ("controller", "generator", _CONTROLLER + "EndLease", end, _UNKNOWN),
        ("controller", "generator", _CONTROLLER + "EndLease", own_end, _INVALID),
        ("controller", "learner", _CONTROLLER + "CommitStep", commit, _INVALID),
        ("controller", "learner", _CONTROLLER + "CommitStep", strange_commit, _UNKNOWN),
        ("controller", "learner", _CONTROLLER + "Register", second, {grpc.StatusCode.ALREADY_EXISTS}),
    ]


def deadly_to_replay(mesh: LiveMesh) -> list[Deadly]:
    learner = mesh.contexts["learner"].identity
    me: dict[str, Any] = {"service_id": learner.service_id, "incarnation": learner.incarnation}
    future: dict[str, Any] = {"step": 500, "batch_groups": 1, "policy_version": 499, "max_staleness": 1}
    draw = replay_pb2.DrawBatchRequest(**future, **me)
    strange_draw = replay_pb2.DrawBatchRequest(**future, **_STRANGER)
    return [
        ("replay", "learner", _REPLAY + "ReleaseSteps", replay_pb2.ReleaseStepsRequest(step=2**62, **me), _INVALID),
        ("replay", "learner", _REPLAY + "ReleaseSteps", replay_pb2.ReleaseStepsRequest(step=10**6, **me), _REFUSED),
        ("replay", "learner", _REPLAY + "DrawBatch", draw, _REFUSED | _INVALID),
        ("replay", "learner", _REPLAY + "DrawBatch", strange_draw, {grpc.StatusCode.ABORTED}),
    ]


def deadly_to_the_weights(mesh: LiveMesh) -> list[Deadly]:
    """A group too large for the run, and what would hold learner or engine up, with a key that nobody has."""
    said = mesh.contexts["learner"].standing.said
    assert said is not None
    large = learner_pb2.OpenTransferRequest(transfer_id="t", group_id="g", world_size=60_000)
    large.transfer_key = said.transfer_key
    large.timeout.FromSeconds(60)
    forged: dict[str, Any] = {"transfer_id": "t", "transfer_key": b"0123"}
    opened = learner_pb2.OpenTransferRequest(world_size=2, transfer_id="t", group_id="g", transfer_key=b"\1" * 16)
    opened.timeout.FromSeconds(60)
    group = weights_pb2.TransferGroup(group_id="g", endpoint="tcp://127.0.0.1:1", world_size=2, rank=1)
    group.timeout.FromSeconds(80_000)
    tensor = weights_pb2.TensorSpec(name="w", dtype="float32", shape=[1])
    manifest = weights_pb2.WeightManifest(policy_version=1, tensors=[tensor], bucket_bytes=1024)
    prepared = generator_pb2.PrepareWeightsRequest(transfer_id="t", group=group, manifest=manifest)
    prepared.transfer_key = b"\1" * 16
    received = generator_pb2.ReceiveWeightsRequest(**forged)
    refused = {grpc.StatusCode.PERMISSION_DENIED}
    return [
        ("learner", "controller", _LEARNER + "OpenTransfer", large, _INVALID),
        ("learner", "controller", _LEARNER + "OpenTransfer", opened, refused),
        ("learner", "controller", _LEARNER + "SendWeights", learner_pb2.SendWeightsRequest(**forged), refused),
        ("learner", "controller", _LEARNER + "AbortTransfer", learner_pb2.AbortTransferRequest(**forged), refused),
        ("generator", "controller", _GENERATOR + "PrepareWeights", prepared, refused),
        ("generator", "controller", _GENERATOR + "ReceiveWeights", received, refused),
        ("generator", "controller", _GENERATOR + "AbortWeights", generator_pb2.AbortWeightsRequest(**forged), refused),
    ]


async def test_no_single_message_ends_a_run_before_or_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.standing.NEWS_SECONDS", 1.0)
    settings = live_settings(tmp_path)
    for _ in range(2):
        async with live_mesh(settings) as mesh:
            await goes_on(mesh)
            for role, caller, method, request, codes in deadly(mesh):
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await mesh.call(role, method, request.SerializeToString(), caller, seconds=8.0)
                assert raised.value.code() in codes, (method, request, raised.value.details())
            await goes_on(mesh)
        check_ledger(settings)
