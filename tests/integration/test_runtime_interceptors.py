"""Whatever bytes a caller sends: what is no sound message is INVALID_ARGUMENT and reaches no handler."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from areal_mesh.runtime.channels import ROLE_KEY
from areal_mesh.runtime.errors import status_details
from areal_mesh.runtime.methods import method_rules
from areal_mesh.runtime.settings import LimitSettings, SecuritySettings
from areal_mesh.v1 import controller_pb2, status_pb2, status_pb2_grpc
from tests.integration.controller_mesh import controller, settings_in

SECONDS = 10.0
# A field of wire type 2 that says it is longer than the message.
TORN = b"\x0a\x7fabc"


@asynccontextmanager
async def raw(address: str) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


async def refusal(channel: grpc.aio.Channel, method: str, request: bytes, role: str) -> grpc.aio.AioRpcError:
    call: Any = channel.unary_unary(method)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(request, timeout=SECONDS, metadata=((ROLE_KEY, role),))
    return raised.value


async def test_bytes_that_are_no_message_are_refused_by_every_method(tmp_path: Path) -> None:
    async with controller(settings_in(tmp_path)) as (_, address), raw(address) as channel:
        for method, rules in method_rules().items():
            if method.split("/")[1] not in ("areal_mesh.v1.ControllerService", "areal_mesh.v1.StatusService"):
                continue
            role = sorted(rules.roles)[0] if rules.roles else "client"
            for request in (TORN, b"\xff" * 100):
                error = await refusal(channel, method, request, role)
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, (method, request, error.details())
                assert status_details(error)[0].field_violations[0].field == "request"


async def test_a_message_past_a_limit_names_its_field_and_one_out_of_a_standard_service_is_refused_too(
    tmp_path: Path,
) -> None:
    async with controller(settings_in(tmp_path)) as (service, address), raw(address) as channel:
        register = controller_pb2.RegisterRequest(service_id="../x" * 1250, role=2, address="h:1", incarnation="a")  # type: ignore[arg-type]
        error = await refusal(
            channel, "/areal_mesh.v1.ControllerService/Register", register.SerializeToString(), "generator"
        )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert status_details(error)[0].field_violations[0].field == "service_id"
        assert "../" not in repr(list(service._roster.all()))
        error = await refusal(channel, "/grpc.health.v1.Health/Check", TORN, "client")
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=SECONDS)
        first = await watch.read()
        assert first.status in (health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING)
        watch.cancel()


async def test_a_control_server_takes_no_message_over_4_mib(tmp_path: Path) -> None:
    async with controller(settings_in(tmp_path)) as (_, address), raw(address) as channel:
        stop = controller_pb2.StopRequest(reason="r" * (5 << 20)).SerializeToString()
        error = await refusal(channel, "/areal_mesh.v1.ControllerService/Stop", stop, "client")
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stub = status_pb2_grpc.StatusServiceStub(channel)
        status: Any = await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=SECONDS)
        assert status.status.state != status_pb2.RUN_STATE_STOPPING


async def test_idle_and_silent_connections_are_closed(tmp_path: Path) -> None:
    limits = LimitSettings(idle_seconds=1.0, handshake_seconds=1.0)
    settings = settings_in(tmp_path).model_copy(update={"security": SecuritySettings(limits=limits)})
    async with controller(settings) as (_, address):
        host, port = address.rsplit(":", 1)
        silent, _writer = await asyncio.open_connection(host, int(port))
        async with raw(address) as channel:
            stub = status_pb2_grpc.StatusServiceStub(channel)
            await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=SECONDS)
            states = []
            state = channel.get_state()
            async with asyncio.timeout(SECONDS):
                while state is not grpc.ChannelConnectivity.IDLE:
                    await channel.wait_for_state_change(state)
                    state = channel.get_state()
                    states.append(state)
                while await silent.read(1024):
                    pass
            await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=SECONDS)
    assert states
