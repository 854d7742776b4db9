"""A run over four hosts in mutual TLS, one of them with IPv6 alone, while strangers try every port.

By `make test-hosts-tls`: a tiny model whose engines only copy, under a minute; and the trial, whose two vLLM engines
share this machine with the rest, minutes.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from areal_mesh.client import ControllerUnreachable, MeshClient, RequestRefused, RunStatus, client_credentials
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.security.authority import make_authority
from areal_mesh.runtime.security.subject import Subject
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, status_pb2, status_pb2_grpc
from tests.chaos.cluster import _END_SECONDS
from tests.chaos.hostile import changed_messages, random_messages
from tests.chaos.hosts import why_no_hosts
from tests.chaos.test_hostile_messages import AT_ONCE, Storm
from tests.chaos.tls_cluster import TRIAL, TlsCluster, tls_cluster
from tests.e2e.whole_mesh import assert_sums_hold, read_json
from tests.integration.live_mesh import LiveMesh, live_settings
from tests.integration.tls_mesh import caller, certificate_folder, write_certificate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not os.environ.get("AREAL_MESH_TEST_HOSTS_TLS"), reason="hosts over TLS: minutes, run by `make test-hosts-tls`"
    ),
]
START_SECONDS = 300.0
CALL_SECONDS = 15.0
MESSAGES = int(os.environ.get("AREAL_MESH_TEST_TLS_MESSAGES", "20000")) // 2
SEED = 77
IDLE_CONNECTIONS = 500
SLOW_READERS = 50
MOST_GROWTH_BYTES = 96 << 20
OVERRIDES = (
    "name=tls",
    "generator.drain_seconds=5",
    "weights.prepare_seconds=20",
    "security.limits.handshake_seconds=5",
)
OF_THE_TRIAL = (
    "generator.cores=none",
    "learner.cores=none",
    "learner.threads=1",
    "stages.0.max_steps=100000",
    "algorithm.batch_groups=8",
    "generator.max_groups_in_flight=8",
    "generator.max_sequences=32",
)
UNAVAILABLE, UNAUTHENTICATED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED
DENIED, EXHAUSTED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED


async def until(mesh: TlsCluster, holds: Any, seconds: float = START_SECONDS) -> RunStatus:
    """Waits for a status of which something holds, as a person with a read-only token sees it."""
    credentials = client_credentials(mesh.visitor, mesh.tokens["bob"])
    async with asyncio.timeout(seconds), MeshClient.connect(mesh.controller, credentials=credentials) as client:
        while True:
            try:
                async for status in client.watch(interval=0.2):
                    if holds(status):
                        return status
            except ControllerUnreachable:
                await asyncio.sleep(0.5)  # not up yet


async def goes_on(mesh: TlsCluster) -> RunStatus:
    """Waits for two steps more."""
    now = await until(mesh, lambda status: True, CALL_SECONDS)
    return await until(mesh, lambda status: status.step >= now.step + 2)


def serving(status: RunStatus) -> set[str]:
    return {service.service_id for service in status.services if str(service.state) == "serving"}


async def addresses_of(mesh: TlsCluster) -> dict[str, list[str]]:
    """Where each role is reached, by what the controller tells a read-only token."""
    found = {"controller": [mesh.controller]}
    async with open_channel(mesh.controller, caller(mesh.visitor, "client", mesh.tokens["bob"])) as channel:
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        for role in ("generator", "verifier", "replay", "learner"):
            request = controller_pb2.FindMembersRequest(role=common_pb2.Role.Value(f"ROLE_{role.upper()}"))
            answer = await stub.FindMembers(request, timeout=CALL_SECONDS)
            found[role] = [member.address for member in answer.members]
    return found


async def code_of(address: str, who: Identity, request: Any = None) -> grpc.StatusCode:
    """How a Stop of the run ends; that nobody here may have."""
    async with open_channel(address, who) as channel:
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        try:
            await stub.Stop(request or controller_pb2.StopRequest(reason="a stranger's"), timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


Case = tuple[Identity, Any, grpc.StatusCode]


def strangers(mesh: TlsCluster, folder: Path) -> dict[str, Case]:
    """Who comes, with what, and how that has to end."""
    foreign, expired, forged = folder / "foreign", folder / "expired", folder / "forged"
    certificate_folder(foreign)
    certificate_folder(expired, (), mesh.authority)
    write_certificate(expired, mesh.authority, Subject("client"), days=1, ago_days=2)
    certificate_folder(forged, ())
    write_certificate(forged, make_authority(1), Subject("client"))
    (forged / "ca.pem").write_bytes((mesh.visitor / "ca.pem").read_bytes())
    anna, bob = mesh.tokens["anna"], mesh.tokens["bob"]
    liar = Identity("client", "x", credentials=caller(mesh.visitor, "learner").credentials)
    long = controller_pb2.StopRequest(reason="r" * (5 << 20))
    return {
        "a wrong role": (caller(mesh.visitor, "generator"), None, DENIED),
        "a wrong role that says another": (liar, None, DENIED),
        "a read-only token": (caller(mesh.visitor, "client", bob), None, DENIED),
        "no token": (caller(mesh.visitor, "client"), None, UNAUTHENTICATED),
        "a token of nobody": (caller(mesh.visitor, "client", anna[:-1]), None, UNAUTHENTICATED),
        "another authority": (caller(foreign, "client", anna), None, UNAVAILABLE),
        "another authority that trusts this one": (caller(forged, "client", anna), None, UNAVAILABLE),
        "an expired certificate": (caller(expired, "client", anna), None, UNAVAILABLE),
        "no certificate": (Identity("client", "x"), None, UNAVAILABLE),
        "a message too long": (caller(mesh.visitor, "client", anna), long, EXHAUSTED),
    }


async def check_strangers(mesh: TlsCluster, folder: Path) -> None:
    """Everybody who is to be refused is, with the status that says why."""
    for name, (who, request, expected) in strangers(mesh, folder).items():
        code = await code_of(mesh.controller, who, request)
        print(f"{name}: {code.name}")
        assert code is expected, name
    for place, told in {"foreign": "its certificate is refused", "expired": "expired"}.items():
        with pytest.raises(ControllerUnreachable, match=told):
            async with MeshClient.connect(mesh.controller, credentials=client_credentials(folder / place)) as client:
                await client.status()
    with pytest.raises(ControllerUnreachable, match="it speaks TLS"):
        async with MeshClient.connect(mesh.controller) as client:
            await client.status()
    bob = client_credentials(mesh.visitor, mesh.tokens["bob"])
    with pytest.raises(RequestRefused, match="needs an operator's token"):
        async with MeshClient.connect(mesh.controller, credentials=bob) as client:
            await client.pause()


async def check_idle_and_slow(mesh: TlsCluster) -> None:
    """Connections that say nothing, and streams that nobody reads, hold nobody up and are closed."""
    host, _, port = mesh.controller.rpartition(":")
    silent = [await asyncio.open_connection(host.strip("[]"), int(port)) for _ in range(IDLE_CONNECTIONS)]
    async with AsyncExitStack() as stack:
        for _ in range(SLOW_READERS):
            reader = caller(mesh.visitor, "client", mesh.tokens["bob"])
            channel = await stack.enter_async_context(open_channel(mesh.controller, reader))
            stub: Any = status_pb2_grpc.StatusServiceStub(channel)
            request = status_pb2.WatchStatusRequest()
            request.interval.FromMilliseconds(100)
            stream = stub.WatchStatus(request, timeout=60.0)
            await stream.read()  # once, and never again
        await goes_on(mesh)
    async with asyncio.timeout(CALL_SECONDS):
        for silent_reader, _ in silent:
            assert await silent_reader.read() == b""
    for _, writer in silent:
        writer.close()


async def check_hostile_messages(mesh: TlsCluster, addresses: dict[str, list[str]], each: int) -> None:
    """Random and mutated messages to every method, of callers with a certificate of each role."""
    target = LiveMesh(mesh.settings, addresses={role: found[-1] for role, found in addresses.items()})
    target.token = mesh.tokens["anna"]
    messages = list(random_messages(SEED, each)) + list(changed_messages(SEED + 1, each))
    async with AsyncExitStack() as stack:
        storm = Storm(target, stack)
        await storm.send(messages)
    print(f"{sum(storm.codes.values())} hostile messages, {AT_ONCE} at once: {dict(storm.codes)}")
    assert not storm.wrong, "\n".join(storm.wrong[:10])


async def attacked(mesh: TlsCluster, folder: Path) -> None:
    everybody = {"generator-0", "generator-1", "learner-0", "replay-0", "verifier-0"}
    status = await until(mesh, lambda status: everybody <= serving(status) and status.step >= 1)
    assert not [fault.text for fault in status.faults]
    addresses = await addresses_of(mesh)
    print(addresses)
    assert any(address.startswith("10.") for address in addresses["generator"])
    assert any(address.startswith("[fd77") for address in addresses["generator"])
    await check_strangers(mesh, folder)
    watched = ("controller", "replay-0", "verifier-0")
    await check_hostile_messages(mesh, addresses, MESSAGES // 10)  # buffers grow to their size once
    before = {name: mesh.services[name].memory_bytes for name in watched}
    await check_idle_and_slow(mesh)
    await check_hostile_messages(mesh, addresses, MESSAGES)
    grown = {name: mesh.services[name].memory_bytes - before[name] for name in watched}
    print({name: f"{size / 2**20:+.1f} MiB" for name, size in grown.items()})
    assert max(grown.values()) < MOST_GROWTH_BYTES
    status = await goes_on(mesh)
    assert status.groups.failed == 0
    mesh.rotate()
    await goes_on(mesh)
    mesh.forget_old_authorities()
    status = await goes_on(mesh)
    print(f"step {status.step}, {status.weight_updates} weight updates, serving {sorted(serving(status))}")
    assert everybody <= serving(status)
    async with MeshClient.connect(
        mesh.controller, credentials=client_credentials(mesh.visitor, mesh.tokens["anna"])
    ) as anna:
        await anna.stop("seen enough")


@pytest.mark.skipif(why_no_hosts() is not None, reason=f"hosts: {why_no_hosts()}")
async def test_the_trial_runs_over_four_hosts_in_tls_whoever_tries_its_ports(tmp_path: Path) -> None:
    summary = await run_attacked(tmp_path, TRIAL, *OF_THE_TRIAL)
    assert set(summary["checksums"]) == {"agreed"}


@pytest.mark.skipif(why_no_hosts() is not None, reason=f"hosts: {why_no_hosts()}")
async def test_a_run_goes_on_over_four_hosts_in_tls_whoever_tries_its_ports(tmp_path: Path) -> None:
    settings = live_settings(tmp_path, steps=1_000_000)
    source = tmp_path / "live.json"
    source.write_text(settings.model_dump_json())
    await run_attacked(tmp_path, str(source))


async def run_attacked(tmp_path: Path, source: str, *overrides: str) -> dict[str, Any]:
    """A run from its start to its end by an operator's token, attacked in between; its summary."""
    with tls_cluster(tmp_path, source, *OVERRIDES, *overrides) as mesh:
        try:
            await attacked(mesh, tmp_path)
            ends = {name: service.wait(_END_SECONDS) for name, service in mesh.services.items()}
        except BaseException:
            print(mesh.last_lines())
            raise
    assert ends == dict.fromkeys(ends, 0)
    summary = read_json(tmp_path / "tls" / "summary.json")
    print({key: summary[key] for key in ("steps", "groups", "checksums")})
    assert_sums_hold(summary)
    assert logged_secrets(tmp_path, mesh) == []
    return summary


def logged_secrets(folder: Path, mesh: TlsCluster) -> list[str]:
    """Logs in which a token or a key stands."""
    logs = [*folder.glob("*.log"), *(folder / "tls" / "logs").iterdir()]
    assert len(logs) >= 2 * len(mesh.services)
    secrets = (*mesh.tokens.values(), "PRIVATE KEY")
    return [str(log) for log in logs if any(secret in log.read_text(errors="replace") for secret in secrets)]
