"""Health and reflection: standard tools against a real server."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.tools import CALL_SECONDS, run_tool

BUF = Path(sys.executable).with_name("buf")


async def test_health_is_answered_for_each_service(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "areal_mesh.v1.StatusService", "areal_mesh.v1.ControllerService"):
            response = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=CALL_SECONDS)
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="areal_mesh.v1.NoService"), timeout=CALL_SECONDS)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_answers_under_both_of_its_names(address: str) -> None:
    from grpc_reflection.v1alpha import reflection_pb2

    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with grpc.aio.insecure_channel(address) as channel:
        for version in ("v1", "v1alpha"):
            call = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )(iter([request]), timeout=CALL_SECONDS)
            response: Any = await call.read()
            names = {service.name for service in response.list_services_response.service}
            assert {"areal_mesh.v1.StatusService", "areal_mesh.v1.ControllerService"} <= names


@pytest.mark.skipif(not BUF.exists(), reason="buf is not installed: pip install buf-bin")
async def test_buf_curl_lists_and_calls_the_status_service_by_reflection(address: str) -> None:
    common = (str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge")
    methods = await run_tool(*common, "--list-methods", f"http://{address}")
    assert "areal_mesh.v1.StatusService/GetStatus" in methods
    answer = await run_tool(*common, f"http://{address}/areal_mesh.v1.StatusService/GetStatus")
    assert json.loads(answer)["status"]["runName"] == "example"


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")
async def test_grpcurl_lists_and_calls_the_status_service_by_reflection(address: str) -> None:
    assert "areal_mesh.v1.StatusService" in await run_tool("grpcurl", "-plaintext", address, "list")
    answer = await run_tool("grpcurl", "-plaintext", address, "areal_mesh.v1.StatusService/GetStatus")
    assert json.loads(answer)["status"]["run_name"] == "example"
