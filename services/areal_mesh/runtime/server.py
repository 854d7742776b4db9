"""One gRPC server as every service runs it: interceptor, health by service name, reflection, a port that is ours."""

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import _async as reflection_servicer
from grpc_reflection.v1alpha import reflection, reflection_pb2

from areal_mesh.runtime.channels import server_options
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.interceptors import CallInterceptor
from areal_mesh.runtime.methods import longest_request

# Twice what 4,096 members can have open, each with a heartbeat and a lease that waits; beyond: RESOURCE_EXHAUSTED.
_CONCURRENT_CALLS = 16_384


class MeshServer:
    """A `grpc.aio` server with the standard health and reflection services.

    Add servicers, then `start`. Each service's health is NOT_SERVING until `set_serving(True)`.
    """

    def __init__(self, listen: str) -> None:
        self._listen = listen
        self._servicers: dict[str, Callable[[Any], None]] = {}
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    def add(self, register: Callable[[Any, Any], None], servicer: Any, full_name: str) -> None:
        """Adds a servicer by its generated `add_...Servicer_to_server` and its full name, `areal_mesh.v1.X`."""
        self._servicers[full_name] = partial(register, servicer)

    async def start(self) -> int:
        """Binds and starts; returns the port.

        Raises:
            StartupError: the address cannot be bound.
        """
        # Made here: how long a message it takes depends on what was added.
        server = self._server = grpc.aio.server(
            interceptors=[CallInterceptor()],
            options=server_options(longest_request(self._servicers)),
            maximum_concurrent_rpcs=_CONCURRENT_CALLS,
        )
        for register in self._servicers.values():
            register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [*self._servicers, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
        server.add_generic_rpc_handlers((_reflection_v1(names),))
        await self.set_serving(False)
        try:
            self.port = server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise StartupError(
                f"listen = {self._listen}: the port is taken or the address is not of this machine; "
                "choose another, or stop what holds it"
            ) from error
        await server.start()
        return self.port

    async def set_serving(self, serving: bool) -> None:
        """Sets the health of every service, and of the server as a whole."""
        kind = health_pb2.HealthCheckResponse
        status = kind.SERVING if serving else kind.NOT_SERVING
        for name in ["", *self._servicers]:
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls and gives those in flight `grace_seconds`."""
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(grace_seconds)


def _reflection_v1(names: list[str]) -> grpc.GenericRpcHandler:
    """Reflection under its v1 name: the messages are those of v1alpha, which is all that grpcio ships."""
    servicer = reflection_servicer.ReflectionServicer(service_names=names)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(
        "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
    )
