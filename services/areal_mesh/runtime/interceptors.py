"""Server interceptors: roles, deadlines, metrics, decoding, and errors that tell a caller no more than they should.

Each but the last wraps a call in an asynchronous context: `around(method, context)` runs before the handler, and sees
what the handler raises. The outermost is `ObservationInterceptor`, so that it also counts what the others refuse; the
innermost is `DecodingInterceptor`, so that a caller who may not call is refused before its message is looked at.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Histogram

from areal_mesh.runtime.channels import ROLE_KEY
from areal_mesh.runtime.errors import MeshError, invalid_argument, permission_denied
from areal_mesh.runtime.methods import CONTROL_REQUEST_BYTES, method_rules
from areal_mesh.runtime.validation import validate

_CALLS = Counter("areal_mesh_rpc_calls_total", "Calls served", ["method", "code"])
_SECONDS = Histogram("areal_mesh_rpc_seconds", "Time to serve a call", ["method"])
_LOG = structlog.get_logger("rpc")

Around = Callable[[str, Any], AbstractAsyncContextManager[None]]


class _WrappingInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once: a server gives the same one for every call of a method."""

    def __init__(self) -> None:
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    def wrap(self, handler: Any, method: str) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has to say how it wraps a handler")

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # no method of this server: nothing is kept for what a caller makes up
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self.wrap(handler, method))
        return known[1]


class _AroundInterceptor(_WrappingInterceptor):
    """Runs unary and server-streaming handlers inside `around(method, context)`."""

    def around(self, method: str, context: Any) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError(f"{type(self).__name__} has to say what it does around a call")

    def wrap(self, handler: Any, method: str) -> Any:
        if handler.request_streaming:
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                _streaming(handler.unary_stream, method, self.around),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            _unary(handler.unary_unary, method, self.around),
            handler.request_deserializer,
            handler.response_serializer,
        )


def _unary(behaviour: Callable[..., Any], method: str, around: Around) -> Callable[..., Any]:
    async def call(request: Any, context: Any) -> Any:
        async with around(method, context):
            return await behaviour(request, context)

    return call


def _streaming(behaviour: Callable[..., Any], method: str, around: Around) -> Callable[..., Any]:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        async with around(method, context):
            async for response in _responses(behaviour(request, context)):
                yield response

    return call


async def _responses(result: Any) -> AsyncIterator[Any]:
    """What a streaming handler answers; one that writes to its context, as gRPC's own health service does, has none."""
    if inspect.isawaitable(result):
        await result
        return
    async for response in result:
        yield response


class ObservationInterceptor(_AroundInterceptor):
    """Counts and times calls; sends a `MeshError` as its status, and anything else as INTERNAL without its text."""

    @asynccontextmanager
    async def around(self, method: str, context: Any) -> AsyncIterator[None]:
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            yield
        except MeshError as error:
            code = error.code
            await context.abort(error.code, error.message, error.trailing_metadata())
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED  # by the caller, or by its deadline
            raise
        except grpc.aio.AbortError:
            code = grpc.StatusCode.ABORTED
            raise
        except Exception as error:  # noqa: BLE001 the one place where any fault becomes a status
            code = grpc.StatusCode.INTERNAL
            _LOG.error("call failed", method=method, exc_info=error)
            await context.abort(code, f"internal error in {method}; its cause is in the service's log")
        finally:
            _CALLS.labels(method, code.name).inc()
            _SECONDS.labels(method).observe(time.perf_counter() - started)


class RoleInterceptor(_AroundInterceptor):
    """Refuses callers whose role the method's `allowed_roles` does not name."""

    @asynccontextmanager
    async def around(self, method: str, context: Any) -> AsyncIterator[None]:
        rules = method_rules().get(method)
        if rules is not None and rules.roles:
            role = caller_role(context)
            if role not in rules.roles:
                raise permission_denied(f"{method} is for {', '.join(sorted(rules.roles))}; the caller is {role}")
        yield


class DeadlineInterceptor(_AroundInterceptor):
    """Refuses calls without a deadline, streams aside: a call that nobody waits for is never worked on for ever."""

    @asynccontextmanager
    async def around(self, method: str, context: Any) -> AsyncIterator[None]:
        if context.time_remaining() is None and caller_role(context) != "client":
            raise MeshError(grpc.StatusCode.INVALID_ARGUMENT, f"{method} was called without a deadline; set `timeout=`")
        yield


class DecodingInterceptor(_WrappingInterceptor):
    """Owns decoding: a handler is given a message that keeps every limit of its contract, or is not called.

    Raises:
        MeshError: INVALID_ARGUMENT, naming the field where it is a field's.
    """

    def wrap(self, handler: Any, method: str) -> Any:
        if handler.request_streaming or handler.request_deserializer is None:
            return handler
        rules = method_rules().get(method)
        most = CONTROL_REQUEST_BYTES if rules is None else rules.max_request_bytes
        decode = partial(decode_request, method, most, handler.request_deserializer)
        # Without a deserializer, gRPC hands on the bytes; its own answer to bytes that are no message is UNKNOWN.
        if handler.response_streaming:
            streaming = _decoding_stream(handler.unary_stream, decode)
            return grpc.unary_stream_rpc_method_handler(streaming, None, handler.response_serializer)
        unary = _decoding(handler.unary_unary, decode)
        return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)


def decode_request(method: str, max_bytes: int, parse: Callable[[bytes], Any], request: bytes) -> Any:
    """A request out of its bytes.

    Raises:
        MeshError: INVALID_ARGUMENT, it is too long, no message of its kind, or passes a limit of its contract.
    """
    if len(request) > max_bytes:
        raise invalid_argument("request", f"{len(request)} bytes; {method} takes {max_bytes} at most")
    try:
        message = parse(request)
    except (DecodeError, ValueError) as error:
        raise invalid_argument("request", f"its {len(request)} bytes are no message that {method} takes") from error
    violation = validate(message)
    if violation is not None:
        raise invalid_argument(violation.field, violation.description)
    return message


def _decoding(behaviour: Callable[..., Any], decode: Callable[[bytes], Any]) -> Callable[..., Any]:
    async def call(request: bytes, context: Any) -> Any:
        return await behaviour(decode(request), context)

    return call


def _decoding_stream(behaviour: Callable[..., Any], decode: Callable[[bytes], Any]) -> Callable[..., Any]:
    async def call(request: bytes, context: Any) -> AsyncIterator[Any]:
        async for response in _responses(behaviour(decode(request), context)):
            yield response

    return call


def caller_role(context: Any) -> str:
    """The role that the caller states; a caller that states none is a client (a person's tool)."""
    for key, value in context.invocation_metadata() or ():
        if key == ROLE_KEY:
            return str(value)
    return "client"
