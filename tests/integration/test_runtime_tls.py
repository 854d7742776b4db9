"""Mutual TLS over real gRPC: who comes in, as whom, and what a stranger is told."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from prometheus_client import REGISTRY

from areal_mesh.client import ControllerUnreachable, MeshClient, RequestRefused, client_credentials
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import ROLE_NAMES, Identity
from areal_mesh.runtime.security.authority import expiry_of, make_authority
from areal_mesh.runtime.security.probe import why_not_connected
from areal_mesh.runtime.security.subject import Subject
from areal_mesh.runtime.settings import LimitSettings
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc
from tests.integration.tls_mesh import (
    caller,
    certificate_folder,
    echo_controller,
    proof,
    write_certificate,
    write_tokens,
)

SECONDS = 10.0
STOP, CONFIG = controller_pb2.StopRequest(reason="test"), controller_pb2.GetConfigRequest()


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    certificate_folder(tmp_path / "certs")
    return tmp_path / "certs"


async def ask(address: str, identity: Identity, method: str, request: Any, seconds: float = SECONDS) -> Any:
    """The answer of one call of the controller, or its refusal."""
    async with open_channel(address, identity) as channel:
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        try:
            return await getattr(stub, method)(request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            return error.code()


async def test_a_role_is_what_the_certificate_says_and_not_what_the_caller_says(certs: Path) -> None:
    lease = controller_pb2.LeaseGroupsRequest(
        service_id="generator-0", incarnation="one", max_groups=1, idempotency_key="k"
    )
    liar = Identity("generator", "generator-0", credentials=proof(certs, "learner"))
    async with echo_controller(certs) as (servicer, address):
        assert await ask(address, caller(certs, "generator"), "LeaseGroups", lease)
        assert await ask(address, caller(certs, "learner"), "LeaseGroups", lease) is grpc.StatusCode.PERMISSION_DENIED
        assert await ask(address, liar, "LeaseGroups", lease) is grpc.StatusCode.PERMISSION_DENIED
        assert await ask(address, caller(certs, "generator"), "Stop", STOP) is grpc.StatusCode.PERMISSION_DENIED
    assert servicer.calls == ["LeaseGroups"]


async def test_a_certificate_of_one_service_speaks_for_no_other(certs: Path, tmp_path: Path) -> None:
    authority = certificate_folder(certs)
    write_certificate(certs, authority, Subject("generator", "generator-3"))
    own, other = (caller(certs, "generator", service_id=name) for name in ("generator-3", "generator-4"))
    said: dict[str, Any] = {"incarnation": "one", "address": "127.0.0.1:1"}
    generator, learner = ROLE_NAMES["generator"], ROLE_NAMES["learner"]
    as_itself = controller_pb2.RegisterRequest(service_id="generator-3", role=generator, **said)
    as_another = controller_pb2.RegisterRequest(service_id="generator-4", role=generator, **said)
    as_learner = controller_pb2.RegisterRequest(service_id="generator-3", role=learner, **said)
    async with echo_controller(certs) as (servicer, address):
        assert await ask(address, own, "Register", as_itself) == controller_pb2.RegisterResponse()
        assert await ask(address, own, "Register", as_another) is grpc.StatusCode.PERMISSION_DENIED
        assert await ask(address, own, "Register", as_learner) is grpc.StatusCode.PERMISSION_DENIED
        # The certificate of the role is for every generator.
        assert await ask(address, other, "Register", as_another) == controller_pb2.RegisterResponse()
    assert servicer.calls == ["Register", "Register"]


def broken_proofs(folder: Path, certs: Path) -> dict[str, tuple[Identity, str]]:
    """Callers whom no service takes, with what they are told."""
    foreign, trusting = folder / "foreign", folder / "trusting"
    certificate_folder(foreign)
    certificate_folder(trusting, ())
    write_certificate(trusting, make_authority(10), Subject("generator"))
    (trusting / "ca.pem").write_bytes((certs / "ca.pem").read_bytes())
    return {
        "another authority on both sides": (caller(foreign, "generator"), "its certificate is refused"),
        "another authority": (caller(trusting, "generator"), "of an authority that it does not trust, or expired"),
        "no certificate": (Identity("generator", "generator-0"), "it speaks TLS; name a folder of certificates"),
    }


@pytest.mark.parametrize("case", ["another authority on both sides", "another authority", "no certificate"])
async def test_who_has_no_certificate_of_the_authority_does_not_come_in(certs: Path, tmp_path: Path, case: str) -> None:
    identity, told = broken_proofs(tmp_path, certs)[case]
    async with echo_controller(certs) as (servicer, address):
        assert await ask(address, identity, "GetConfig", CONFIG) is grpc.StatusCode.UNAVAILABLE
        assert told in await why_not_connected(address, identity.credentials)
        with pytest.raises(ControllerUnreachable, match=told):
            async with MeshClient.connect(address, credentials=identity.credentials) as mesh:
                await mesh.status()
    assert servicer.calls == []


async def test_an_expired_certificate_does_not_come_in(tmp_path: Path) -> None:
    authority = certificate_folder(tmp_path)
    write_certificate(tmp_path, authority, Subject("generator"), days=1, ago_days=2)
    async with echo_controller(tmp_path) as (servicer, address):
        assert await ask(address, caller(tmp_path, "generator"), "GetConfig", CONFIG) is grpc.StatusCode.UNAVAILABLE
        assert "expired" in await why_not_connected(address, proof(tmp_path, "generator"))
    assert servicer.calls == []


async def test_a_service_whose_certificate_has_expired_is_not_believed(tmp_path: Path) -> None:
    authority = certificate_folder(tmp_path)
    write_certificate(tmp_path, authority, Subject("controller"), days=1, ago_days=2)
    async with echo_controller(tmp_path) as (servicer, address):
        assert await ask(address, caller(tmp_path, "generator"), "GetConfig", CONFIG) is grpc.StatusCode.UNAVAILABLE
        told = await why_not_connected(address, proof(tmp_path, "generator"))
    assert "its certificate is refused: certificate has expired" in told
    assert servicer.calls == []


async def test_a_certificate_is_for_the_hosts_that_it_names_by_name_and_by_both_kinds_of_address(certs: Path) -> None:
    me = caller(certs, "generator")
    async with echo_controller(certs, listen="[::1]:0") as (_, address):
        assert await ask(address, me, "GetConfig", CONFIG)
    async with echo_controller(certs) as (_, address):
        port = address.rpartition(":")[2]
        assert await ask(f"localhost:{port}", me, "GetConfig", CONFIG)
        # 127.0.0.2 is this machine too, and no address of the certificate's.
    async with echo_controller(certs, listen="127.0.0.2:0") as (servicer, address):
        assert await ask(address, me, "GetConfig", CONFIG) is grpc.StatusCode.UNAVAILABLE
        assert "for 127.0.0.2" in await why_not_connected(address, me.credentials)
        assert servicer.calls == []


async def test_people_need_a_token_and_a_read_only_one_steers_nothing(certs: Path) -> None:
    tokens = write_tokens(certs, anna="operator", bob="read-only", carl="expired")
    denied, unknown = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
    async with echo_controller(certs) as (servicer, address):
        for method, request, expected in (
            ("Stop", STOP, {"anna": controller_pb2.StopResponse(), "bob": denied}),
            ("GetConfig", CONFIG, dict.fromkeys(("anna", "bob"), controller_pb2.GetConfigResponse())),
        ):
            for name in ("anna", "bob", "carl"):
                answer = await ask(address, caller(certs, "client", tokens[name]), method, request)
                assert answer == expected.get(name, unknown), (method, name)
            for wrong in ("", "areal-mesh-token-nobodys", tokens["anna"][:-1]):
                assert await ask(address, caller(certs, "client", wrong), method, request) is unknown
        # A service proves itself by its certificate; a token gives it nothing.
        assert await ask(address, caller(certs, "verifier", tokens["anna"]), "Stop", STOP) is denied
        write_tokens(certs, bob="read-only")
        assert await ask(address, caller(certs, "client", tokens["anna"]), "Stop", STOP) is unknown, "was revoked"
    assert servicer.calls == ["Stop", "GetConfig", "GetConfig"]


async def test_the_client_says_why_it_is_refused(certs: Path) -> None:
    tokens = write_tokens(certs, bob="read-only")
    async with echo_controller(certs) as (_, address):
        async with MeshClient.connect(address, credentials=client_credentials(certs, tokens["bob"])) as mesh:
            await mesh.status()
            with pytest.raises(RequestRefused, match="Stop needs an operator's token; the caller is bob with a token"):
                await mesh.stop()
        async with MeshClient.connect(address, credentials=client_credentials(certs)) as mesh:
            with pytest.raises(RequestRefused, match="make one with `areal-mesh tokens add NAME`"):
                await mesh.status()
    async with echo_controller(None) as (_, address):
        plain = MeshClient.connect(address, credentials=client_credentials(certs))
        with pytest.raises(ControllerUnreachable, match="it speaks plain text, and is called over TLS"):
            async with plain as mesh:
                await mesh.status()


async def test_new_certificates_and_a_new_authority_are_taken_without_a_restart(
    certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.security.credentials._LOOK_AGAIN_SECONDS", 0.0)
    first = make_authority(10)
    certificate_folder(certs, authority=first)
    async with (
        echo_controller(certs) as (servicer, address),
        open_channel(address, caller(certs, "learner")) as channel,
    ):
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        await stub.GetConfig(CONFIG, timeout=SECONDS)
        # A second authority is trusted beside the first, which has issued what everybody has.
        second = make_authority(10)
        (certs / "ca.pem").write_bytes(second.pem + first.pem)
        await stub.GetConfig(CONFIG, timeout=SECONDS)
        # Everybody has a certificate of the second; then the first is trusted no more.
        certificate_folder(certs, authority=second)
        await stub.GetConfig(CONFIG, timeout=SECONDS)
        old = certs.parent / "old"
        certificate_folder(old, authority=first)
        (old / "ca.pem").write_bytes(second.pem)
        assert await ask(address, caller(old, "learner"), "GetConfig", CONFIG) is grpc.StatusCode.UNAVAILABLE
        # What cannot be used is not taken.
        (certs / "controller.pem").write_text("no certificate")
        assert await ask(address, caller(certs, "learner"), "GetConfig", CONFIG)
        await stub.GetConfig(CONFIG, timeout=SECONDS)
    assert len(servicer.calls) == 5


async def test_a_certificate_that_expires_during_a_connection_is_refused_then(
    certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        echo_controller(certs) as (servicer, address),
        open_channel(address, caller(certs, "learner")) as channel,
    ):
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        await stub.GetConfig(CONFIG, timeout=SECONDS)
        monkeypatch.setattr("areal_mesh.runtime.security.tls_authentication.time.time", lambda: 4e9)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetConfig(CONFIG, timeout=SECONDS)
        monkeypatch.undo()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "has expired" in str(refused.value.details())
    assert servicer.calls == ["GetConfig"]


async def test_the_metrics_say_when_the_certificate_ends(certs: Path) -> None:
    ends = expiry_of((certs / "controller.pem").read_bytes())
    async with echo_controller(certs):
        assert REGISTRY.get_sample_value("areal_mesh_certificate_expiry_timestamp_seconds") == ends


async def test_a_message_that_is_too_long_is_refused_over_tls_too(certs: Path) -> None:
    tokens = write_tokens(certs, anna="operator")
    long = controller_pb2.StopRequest(reason="r" * (5 << 20))
    async with echo_controller(certs) as (servicer, address):
        answer = await ask(address, caller(certs, "client", tokens["anna"]), "Stop", long)
    assert answer is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert servicer.calls == []


async def test_a_peer_that_calls_too_often_is_told_when_to_come_back_and_others_are_not(certs: Path) -> None:
    limits = LimitSettings(calls_per_second=5.0)
    async with echo_controller(certs, limits) as (_, address):
        async with open_channel(address, caller(certs, "learner")) as channel:
            stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
            codes = []
            for _ in range(30):
                try:
                    await stub.GetConfig(CONFIG, timeout=SECONDS)
                    codes.append(grpc.StatusCode.OK)
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert 10 <= codes.count(grpc.StatusCode.OK) < 20
        assert await ask(address, caller(certs, "generator"), "GetConfig", CONFIG)


async def test_idle_and_silent_connections_hold_nobody_up(certs: Path) -> None:
    limits = LimitSettings(connections=600, handshake_seconds=1.0)
    async with echo_controller(certs, limits) as (servicer, address):
        host, port = address.rsplit(":", 1)
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(500)]
        assert await ask(address, caller(certs, "learner"), "GetConfig", CONFIG)
        async with asyncio.timeout(SECONDS):
            for reader, _ in silent:
                assert await reader.read() == b"", "closed after the time for a handshake"
        assert await ask(address, caller(certs, "learner"), "GetConfig", CONFIG)
        for _, writer in silent:
            writer.close()
    assert servicer.calls == ["GetConfig", "GetConfig"]


async def test_connections_beyond_the_limit_are_closed_at_once(certs: Path) -> None:
    one = caller(certs, "learner")
    limits = LimitSettings(connections=2)
    async with echo_controller(certs, limits) as (_, address), open_channel(address, one) as channel:
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        await stub.GetConfig(CONFIG, timeout=SECONDS)
        host, port = address.rsplit(":", 1)
        held = [socket.create_connection((host, int(port)), timeout=2.0) for _ in range(4)]
        for third in held[1:]:
            assert await asyncio.to_thread(third.recv, 1) == b""
        await stub.GetConfig(CONFIG, timeout=SECONDS)
        for each in held:
            each.close()
