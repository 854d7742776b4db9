"""Channels: options, retries and the caller's identity, in one place.

Bulk and control traffic use channels of their own, so that a control call never waits behind megabytes.
"""

import json
from collections.abc import Callable
from typing import Any, Literal

import grpc
import grpc.aio

from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.methods import method_rules

ROLE_KEY = "areal-mesh-role"
SERVICE_KEY = "areal-mesh-service"
MAX_MESSAGE_BYTES = 256 << 20
# Requests over the retry buffer are silently not retried; gRPC's own value is 256 KiB.
_RETRY_BUFFER_BYTES = 64 << 20

IDLE_MS = 300_000
"""A connection without a call for this long is closed; the next call opens another."""

HANDSHAKE_MS = 10_000
"""A connection that says nothing at all, not even HTTP/2's preface, is closed after this long."""

# Of one connection; more wait at the caller. A generator has a call for each group in flight.
_CONCURRENT_STREAMS = 1_024


def server_options(max_request_bytes: int) -> list[tuple[str, int | str]]:
    """Options of a server that takes requests of so many bytes at most."""
    return [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", _CONCURRENT_STREAMS),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
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
    """Adds the caller's role and name to every call."""

    def __init__(self, identity: Identity) -> None:
        self._entries = ((ROLE_KEY, identity.role), (SERVICE_KEY, identity.service_id))

    def _details(self, details: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), *self._entries)
        return grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )


# Two classes: a channel takes an interceptor for the first kind of call it fits, and for no other.
class _UnaryCallerInterceptor(_Caller, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await continuation(self._details(details), request)


class _StreamCallerInterceptor(_Caller, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await continuation(self._details(details), request)


def open_channel(target: str, identity: Identity, traffic: Literal["control", "bulk"] = "control") -> grpc.aio.Channel:
    """Opens a channel to `target` (host:port) for one kind of traffic; connects on first use.

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
        _UnaryCallerInterceptor(identity),
        _StreamCallerInterceptor(identity),
    ]
    return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
