"""Channels: options, retries and the caller's identity, in one place.

Bulk and control traffic use channels of their own, so that a control call never waits behind megabytes.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import grpc
import grpc.aio

from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.methods import method_rules
from areal_mesh.runtime.security.reloading import ReloadingChannel

if TYPE_CHECKING:
    # The settings take half a second to import, which every command that asks a controller would wait for.
    from areal_mesh.runtime.settings.security import LimitSettings

ROLE_KEY = "areal-mesh-role"
SERVICE_KEY = "areal-mesh-service"
TIME_KEY, VERSION_KEY = "areal-mesh-time", "areal-mesh-version"
"""What a controller says of itself beside its status: seconds since 1970 by its clock, and its release."""
AUTHORIZATION_KEY = "authorization"
BEARER = "Bearer "
MAX_MESSAGE_BYTES = 256 << 20
# Longer than any call of a service takes; a stream of a person that names no deadline ends then.
_CLOSING_GRACE_MS = 3_600_000
# Requests over the retry buffer are silently not retried; gRPC's own value is 256 KiB.
_RETRY_BUFFER_BYTES = 64 << 20


def server_options(max_request_bytes: int, limits: "LimitSettings") -> list[tuple[str, int | str]]:
    """Options of a server that takes requests of so many bytes at most, and of each caller what the settings allow."""
    return [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        ("grpc.max_connection_idle_ms", round(limits.idle_seconds * 1e3)),
        ("grpc.max_connection_age_ms", round(limits.connection_age_seconds * 1e3)),
        ("grpc.max_connection_age_grace_ms", _CLOSING_GRACE_MS),
        ("grpc.server_handshake_timeout_ms", round(limits.handshake_seconds * 1e3)),
        # A peer whose machine is gone says nothing; without this its connection and its waiting calls stay for ever.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 2),
    ]


def service_config() -> str:
    """The gRPC service config: idempotent methods are sent again on UNAVAILABLE."""
    names = []
    for method, rules in method_rules().items():
        if rules.idempotent:
            service, name = method.strip("/").split("/")
            names.append({"service": service, "method": name})
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": retry}]})


class _Caller:
    """Adds the caller's role and name to every call, and over TLS the token of the person it acts for; keeps the call
    among the caller's open ones until it is answered."""

    def __init__(self, identity: Identity, target: str) -> None:
        self._calls, self._target = identity.calls, target
        self._entries = [(ROLE_KEY, identity.role), (SERVICE_KEY, identity.service_id)]
        if identity.credentials is not None and identity.credentials.token:
            self._entries.append((AUTHORIZATION_KEY, BEARER + identity.credentials.token))

    def _details(self, details: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), *self._entries)
        return grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )

    async def _send(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        end = self._calls.begin(method, self._target)
        try:
            call = await continuation(self._details(details), request)
        except BaseException:
            end(None)
            raise
        call.add_done_callback(end)
        return call


# Two classes: a channel takes an interceptor for the first kind of call it fits, and for no other.
class _UnaryCallerInterceptor(_Caller, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await self._send(continuation, details, request)


class _StreamCallerInterceptor(_Caller, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await self._send(continuation, details, request)


def open_channel(target: str, identity: Identity, traffic: Literal["control", "bulk"] = "control") -> grpc.aio.Channel:
    """Opens a channel to `target` (host:port) for one kind of traffic; connects on first use.

    Over mutual TLS where the identity has credentials, and then with the certificates as they are at each call.
    Every call on it needs a `timeout=` of its own. Two channels with different `traffic` never share a connection.
    """
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", service_config()),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # What a user's environment says of proxies is for the web: the mesh's own traffic goes straight to its members.
        ("grpc.enable_http_proxy", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.primary_user_agent", f"areal-mesh-{traffic}"),
    ]
    interceptors: list[grpc.aio.ClientInterceptor] = [
        _UnaryCallerInterceptor(identity, target),
        _StreamCallerInterceptor(identity, target),
    ]
    if identity.credentials is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return ReloadingChannel(
        identity.credentials, lambda proof: grpc.aio.secure_channel(target, proof, options, None, interceptors)
    )
