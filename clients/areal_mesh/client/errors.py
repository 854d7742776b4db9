"""What can go wrong between a client and a service: one family, each naming the address and what would do."""

import grpc
import grpc.aio


class MeshClientError(Exception):
    """A call to the controller, or to a generator, that did not succeed.

    `address` is the service's host:port; `call` the method's name.
    """

    def __init__(self, address: str, call: str, message: str) -> None:
        super().__init__(message)
        self.address = address
        self.call = call


class ControllerUnreachable(MeshClientError):
    """Nothing answers at the address, or the controller went away during the call."""


class GeneratorUnreachable(MeshClientError):
    """No generator answers at the address, or it cannot answer now: it has no weights yet, drains, or is busy."""


class ControllerTimeout(MeshClientError):
    """The controller did not answer within the call's deadline."""


class RequestRefused(MeshClientError):
    """The service answered that it will not: the state does not allow it, or an argument does not hold."""


class UnexpectedAnswer(MeshClientError):
    """The service failed while it served the call, or what serves at the address is another."""


_REFUSALS = (
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)


def from_rpc_error(error: grpc.aio.AioRpcError, address: str, call: str) -> MeshClientError:
    """The client's error for a gRPC status."""
    code, text = error.code(), error.details() or ""
    # A server that stops cancels the calls it still holds: it is gone, and nobody here cancelled anything.
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return ControllerUnreachable(
            address,
            call,
            f"no controller answers at {address}; start a run with `areal-mesh up`, or name another address "
            "(--controller, $AREAL_MESH_CONTROLLER)",
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ControllerTimeout(
            address, call, f"the controller at {address} did not answer {call} in time; it is busy or hangs: try again"
        )
    if code in _REFUSALS:
        return RequestRefused(address, call, f"the controller at {address} refuses {call}: {text}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnexpectedAnswer(
            address, call, f"{address} does not know {call}: is that a controller, and of this version?"
        )
    return UnexpectedAnswer(address, call, f"{call} failed at {address} with {code.name}: {text}")


def from_generator_error(error: grpc.aio.AioRpcError, address: str, call: str) -> MeshClientError:
    """As `from_rpc_error`, of a call to a generator."""
    code, text = error.code(), error.details() or ""
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return GeneratorUnreachable(address, call, f"no generator answers at {address}: {text}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return GeneratorUnreachable(address, call, f"the generator at {address} is busy: {text}; try again")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return GeneratorUnreachable(
            address, call, f"the generator at {address} did not finish {call} in time; ask for fewer tokens"
        )
    if code in _REFUSALS:
        return RequestRefused(address, call, f"the generator at {address} refuses {call}: {text}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnexpectedAnswer(
            address, call, f"{address} does not know {call}: is that a generator, and of this version?"
        )
    return UnexpectedAnswer(address, call, f"{call} failed at {address} with {code.name}: {text}")
