"""`areal-mesh health`: one question to a service by gRPC's standard health service, for those who supervise it."""

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from areal_mesh.cli.targets import Target
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity


def health(target: Target, timeout: float) -> int:
    """The exit code: 0 where the service serves, 1 where it does not or does not answer, which is said."""
    said = asyncio.run(_ask(target, timeout))
    if said == "SERVING":
        return 0
    print(f"areal-mesh: {target.address}: {said}", file=sys.stderr)
    return 1


async def _ask(target: Target, timeout: float) -> str:
    identity = Identity("client", "areal-mesh-health", credentials=target.credentials)
    async with open_channel(target.address, identity) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # grpcio-health-checking has no types for it
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
