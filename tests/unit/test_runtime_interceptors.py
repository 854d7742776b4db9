"""What the server's interceptor keeps of the handlers it wraps."""

from types import SimpleNamespace
from typing import Any

import grpc

from areal_mesh.runtime.interceptors import CallInterceptor
from areal_mesh.v1 import controller_pb2

METHOD = "/areal_mesh.v1.ControllerService/Heartbeat"


def handler() -> Any:
    async def heartbeat(request: Any, context: Any) -> Any:
        return controller_pb2.HeartbeatResponse()

    return grpc.unary_unary_rpc_method_handler(
        heartbeat, controller_pb2.HeartbeatRequest.FromString, controller_pb2.HeartbeatResponse.SerializeToString
    )


async def wrapped(interceptor: Any, inner: Any, method: str = METHOD) -> Any:
    async def continuation(details: Any) -> Any:
        return inner

    return await interceptor.intercept_service(continuation, SimpleNamespace(method=method))


async def test_a_handler_is_wrapped_once_and_another_of_its_method_anew() -> None:
    interceptor, first, second = CallInterceptor(), handler(), handler()
    once = await wrapped(interceptor, first)
    assert once is not first
    assert await wrapped(interceptor, first) is once
    assert await wrapped(interceptor, second) is not once


async def test_nothing_is_kept_for_a_method_that_a_caller_made_up() -> None:
    interceptor = CallInterceptor()
    assert [await wrapped(interceptor, None, f"/made.up/Method{number}") for number in range(9)] == [None] * 9
    assert interceptor._wrapped == {}
