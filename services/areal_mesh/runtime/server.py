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
from areal_mesh.runtime.security.authentication import Authentication, PlainTextAuthentication
from areal_mesh.runtime.security.credentials import Credentials
from areal_mesh.runtime.settings.security import LimitSettings

# Twice what 4,096 members can have open, each with a heartbeat and a lease that waits; beyond: RESOURCE_EXHAUSTED.
_CONCURRENT_CALLS = 16_384


class MeshServer:
    """A `grpc.aio` server with the standard health and reflection services.

    Add servicers, then `start`. Each service's health is NOT_SERVING until `set_serving(True)`.

    Args:
        listen: host:port.
        credentials: its certificates; it then speaks to nobody but callers with one of the same authority. Without
            them it speaks plain text.
        limits: what it takes of its callers; by default as the settings have it by default.
    """

    def __init__(
        self, listen: str, credentials: Credentials | None = None, limits: LimitSettings | None = None
    ) -> None:
        self._listen = listen
        self._credentials = credentials
        self._limits = limits or LimitSettings()
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
            interceptors=[CallInterceptor(self._authentication(), self._limits.calls_per_second)],
            options=server_options(longest_request(self._servicers), self._limits),
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
            if self._credentials is None:
                self.port = server.add_insecure_port(self._listen)
            else:
                self.port = server.add_secure_port(self._listen, self._credentials.for_server())
        except RuntimeError as error:
            raise StartupError(
                f"listen = {self._listen}: the port is taken or the address is not of this machine; "
                "choose another, or stop what holds it"
            ) from error
        await server.start()
        return self.port

    def _authentication(self) -> Authentication:
        if self._credentials is None:
            return PlainTextAuthentication()
        # Brings the package along that reads certificates, which plain text does without.
        from areal_mesh.runtime.security.tls_authentication import TlsAuthentication

        return TlsAuthentication(self._credentials)

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
