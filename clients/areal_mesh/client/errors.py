"""What can go wrong between a client and a service: one family, each naming the address and what would do."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class _Peer:
    """What errors of calls to one kind of service say and are."""

    name: str
    unreachable: type[MeshClientError]
    late: type[MeshClientError]
    absent_hint: str
    late_hint: str


_CONTROLLER = _Peer(
    "controller",
    ControllerUnreachable,
    ControllerTimeout,
    "start a run with `areal-mesh up`, or name another address (--controller, $AREAL_MESH_CONTROLLER)",
    "it is busy or hangs: try again",
)
_GENERATOR = _Peer("generator", GeneratorUnreachable, GeneratorUnreachable, "", "ask for fewer tokens")


def from_rpc_error(error: grpc.aio.AioRpcError, address: str, call: str, why: str = "") -> MeshClientError:
    """The client's error for a gRPC status of a call to a controller; `why` it is not reached, where that is known."""
    return _from(_CONTROLLER, error, address, call, why)


def from_generator_error(error: grpc.aio.AioRpcError, address: str, call: str, why: str = "") -> MeshClientError:
    """As `from_rpc_error`, of a call to a generator."""
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        message = f"the generator at {address} is busy: {error.details() or ''}; try again"
        return GeneratorUnreachable(address, call, message)
    return _from(_GENERATOR, error, address, call, why)


def _from(peer: _Peer, error: grpc.aio.AioRpcError, address: str, call: str, why: str) -> MeshClientError:
    code, text = error.code(), error.details() or ""
    if why:
        return peer.unreachable(address, call, f"the {peer.name} at {address} is not reached: {why}")
    # A server that stops cancels the calls it still holds: it is gone, and nobody here cancelled anything.
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        ending = f"; {peer.absent_hint}" if peer.absent_hint else f": {text}"
        return peer.unreachable(address, call, f"no {peer.name} answers at {address}{ending}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"the {peer.name} at {address} did not answer {call} in time; {peer.late_hint}"
        return peer.late(address, call, message)
    if code in _REFUSALS:
        return RequestRefused(address, call, f"the {peer.name} at {address} refuses {call}: {text}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnexpectedAnswer(
            address, call, f"{address} does not know {call}: is that a {peer.name}, and of this version?"
        )
    return UnexpectedAnswer(address, call, f"{call} failed at {address} with {code.name}: {text}")
