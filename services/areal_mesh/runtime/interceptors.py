"""The server's interceptor: roles, deadlines, metrics, decoding, and errors that tell a caller no more than need be.

Each handler is wrapped once, in one function that does all of it, so that a call costs one more await and not one a
concern. Within a call the order is fixed: who may not call, or set no deadline, is refused before its message is looked
at; a handler is given a message that keeps every limit of its contract; and whatever is refused is counted too.
"""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Histogram

from areal_mesh.runtime.errors import MeshError, invalid_argument, resource_exhausted
from areal_mesh.runtime.methods import CONTROL_REQUEST_BYTES, MethodRules, method_rules
from areal_mesh.runtime.security.authentication import Authentication, PlainTextAuthentication
from areal_mesh.runtime.security.authorization import CLIENT, Caller, check_claims, check_method
from areal_mesh.runtime.security.rates import PeerRates
from areal_mesh.runtime.validation import validate

_CALLS = Counter("areal_mesh_rpc_calls_total", "Calls served", ["method", "code"])
_SECONDS = Histogram("areal_mesh_rpc_duration_seconds", "Time to serve a call", ["method"])
_LOG = structlog.get_logger("rpc")

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]
Behaviour = Callable[..., Any]


def with_request_bytes(behaviour: Behaviour) -> Behaviour:
    """Marks a unary handler that takes the bytes of its request too, as a third argument: to keep them as they came."""
    behaviour.takes_request_bytes = True  # type: ignore[attr-defined]
    return behaviour


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once: a server gives the same one for every call of a method.

    Args:
        authentication: how callers are known; by default by what they say.
        calls_per_second: of one peer; 0 for any number.
    """

    def __init__(self, authentication: Authentication | None = None, calls_per_second: float = 0.0) -> None:
        self._gate = _Gate(
            authentication or PlainTextAuthentication(), PeerRates(calls_per_second) if calls_per_second else None
        )
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """The wrapped handler of a call's method; None for a method that this server has not."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # nothing is kept for what a caller makes up
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, _wrap(handler, method, self._gate))
        return known[1]


class _Gate:
    """Who comes in."""

    def __init__(self, authentication: Authentication, rates: PeerRates | None) -> None:
        self._authentication = authentication
        self._rates = rates

    def admit(self, context: Any, method: str, rules: MethodRules | None) -> Caller:
        """Who makes a call, if it may be made: nobody may wait for ever, so that all but people name a deadline.

        Raises:
            MeshError: UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED or INVALID_ARGUMENT.
        """
        caller = self._authentication.caller_of(context, needs_token=rules is not None)
        if self._rates is not None and caller.peer:
            seconds = self._rates.seconds_to_wait(caller.peer, time.monotonic())
            if seconds:
                raise resource_exhausted("more calls a second than `security.limits.calls_per_second` allows", seconds)
        check_method(method, rules, caller)
        if caller.role != CLIENT and context.time_remaining() is None:
            raise MeshError(grpc.StatusCode.INVALID_ARGUMENT, f"{method} was called without a deadline; set `timeout=`")
        return caller


def _wrap(handler: Any, method: str, gate: _Gate) -> Any:
    """A unary or server-streaming handler with all that comes around it; one that takes a stream as it is."""
    if handler.request_streaming:
        return handler
    decode = _decoder(handler, method)
    # Without a deserializer, gRPC hands on the bytes; its own answer to bytes that are no message is UNKNOWN.
    if handler.response_streaming:
        streaming = _streaming(handler.unary_stream, decode, _Observed(method, gate))
        return grpc.unary_stream_rpc_method_handler(streaming, None, _encoder(handler))
    unary = _unary(handler.unary_unary, decode, _Observed(method, gate))
    return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)


def _unary(behaviour: Behaviour, decode: Decode, observed: "_Observed") -> Behaviour:
    takes_bytes = getattr(behaviour, "takes_request_bytes", False)

    async def call(request: bytes, context: Any) -> Any:
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            caller = observed.admit(context)
            message = decode(request)
            check_claims(message, caller)
            return await (behaviour(message, context, request) if takes_bytes else behaviour(message, context))
        except BaseException as error:
            code = code_of(error)
            await observed.send(error, code, context)
            raise
        finally:
            observed.count(code, started)

    return call


def _streaming(behaviour: Behaviour, decode: Decode, observed: "_Observed") -> Behaviour:
    async def call(request: bytes, context: Any) -> AsyncIterator[Any]:
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            caller = observed.admit(context)
            message = decode(request)
            check_claims(message, caller)
            async for response in _responses(behaviour(message, context)):
                yield response
        except GeneratorExit:
            raise  # the stream is closed: nothing can be sent any more
        except BaseException as error:
            code = code_of(error)
            await observed.send(error, code, context)
            raise
        finally:
            observed.count(code, started)

    return call


async def _responses(result: Any) -> AsyncIterator[Any]:
    """What a streaming handler answers; one that writes to its context, as gRPC's own health service does, has none."""
    if inspect.isawaitable(result):
        await result
        return
    async for response in result:
        yield response


class _Observed:
    """One method as the server sees its calls: who may call it, and how calls are counted and refused."""

    def __init__(self, method: str, gate: _Gate) -> None:
        self._rules = method_rules().get(method)
        self._gate = gate
        self._method = method
        self._seconds = _SECONDS.labels(method)
        self._calls: dict[grpc.StatusCode, Any] = {}

    def admit(self, context: Any) -> Caller:
        """Who calls, see `_Gate.admit`."""
        return self._gate.admit(context, self._method, self._rules)

    async def send(self, error: BaseException, code: grpc.StatusCode, context: Any) -> None:
        """Sends a `MeshError` as its status, and a fault as INTERNAL without its text; what is sent already is not."""
        if isinstance(error, MeshError):
            await context.abort(code, error.message, error.trailing_metadata())
        if code is grpc.StatusCode.INTERNAL:
            _LOG.error("call failed", method=self._method, exc_info=error)
            await context.abort(code, f"internal error in {self._method}; its cause is in the service's log")

    def count(self, code: grpc.StatusCode, started: float) -> None:
        """Counts a call, which began at `started` by `perf_counter`."""
        calls = self._calls.get(code)
        if calls is None:
            calls = self._calls[code] = _CALLS.labels(self._method, code.name)
        calls.inc()
        self._seconds.observe(time.perf_counter() - started)


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status of what a handler raised."""
    if isinstance(error, MeshError):
        return error.code
    if isinstance(error, grpc.aio.AbortError):
        return grpc.StatusCode.ABORTED
    # Cancelled by the caller, or by its deadline; or the process ends.
    return grpc.StatusCode.INTERNAL if isinstance(error, Exception) else grpc.StatusCode.CANCELLED


def _encoder(handler: Any) -> Encode:
    """What makes bytes of a response of a method; what a handler answers as bytes is encoded already."""
    encode: Encode = handler.response_serializer
    return lambda response: response if type(response) is bytes else encode(response)


def _decoder(handler: Any, method: str) -> Decode:
    """What makes a request of a method out of its bytes."""
    if handler.request_deserializer is None:
        return bytes
    rules = method_rules().get(method)
    most = CONTROL_REQUEST_BYTES if rules is None else rules.max_request_bytes
    return partial(decode_request, method, most, handler.request_deserializer)


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
