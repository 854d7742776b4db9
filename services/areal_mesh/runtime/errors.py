"""The errors that services raise and clients see: gRPC statuses with `google.rpc` details, never values.

A servicer raises a `MeshError`; the observation interceptor sends it as a status. Anything else that a servicer
raises reaches the caller as INTERNAL without its text.
"""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY = "grpc-status-details-bin"


class MeshError(Exception):
    """An error with a gRPC code, a message a person can act on, and `google.rpc` details."""

    def __init__(self, code: grpc.StatusCode, message: str, details: Sequence[Message] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The details as trailing metadata, in the form that every gRPC client reads; empty without details."""
        if not self.details:
            return ()
        packed = []
        for detail in self.details:
            wrapper = any_pb2.Any()
            wrapper.Pack(detail)
            packed.append(wrapper)
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)
        return ((DETAILS_KEY, status.SerializeToString()),)


class StartupError(Exception):
    """The service cannot start and would not on a second try: a port taken, a folder missing, a wrong setting."""


class CannotGoOn(StartupError):
    """As `StartupError`, of a service that had started: it cannot do its work, and would not in a second life."""


def invalid_argument(field: str, description: str) -> MeshError:
    """INVALID_ARGUMENT with BadRequest: `field` is the path in the request, `description` says what would do."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    details = [error_details_pb2.BadRequest(field_violations=[violation])]
    return MeshError(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: {description}", details)


def resource_exhausted(message: str, retry_seconds: float) -> MeshError:
    """RESOURCE_EXHAUSTED with RetryInfo: the caller may try again after `retry_seconds`."""
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(retry_seconds * 1e9))
    return MeshError(grpc.StatusCode.RESOURCE_EXHAUSTED, message, [error_details_pb2.RetryInfo(retry_delay=delay)])


def not_found(message: str) -> MeshError:
    """NOT_FOUND: what the request names does not exist."""
    return MeshError(grpc.StatusCode.NOT_FOUND, message)


def failed_precondition(message: str) -> MeshError:
    """FAILED_PRECONDITION: the state does not allow it now; repeating changes nothing."""
    return MeshError(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> MeshError:
    """ABORTED: superseded by another caller or a later version."""
    return MeshError(grpc.StatusCode.ABORTED, message)


def unavailable(message: str) -> MeshError:
    """UNAVAILABLE: try again."""
    return MeshError(grpc.StatusCode.UNAVAILABLE, message)


def permission_denied(message: str) -> MeshError:
    """PERMISSION_DENIED: the caller's role may not do this."""
    return MeshError(grpc.StatusCode.PERMISSION_DENIED, message)


def status_details(error: grpc.RpcError) -> list[Any]:
    """The `google.rpc` details that came with an error: BadRequest and RetryInfo messages; empty if there are none."""
    metadata: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    known = (error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    found: list[Any] = []
    for key, value in metadata or ():
        if key != DETAILS_KEY:
            continue
        for wrapper in status_pb2.Status.FromString(value).details:
            for kind in known:
                detail = kind()
                if wrapper.Unpack(detail):
                    found.append(detail)
    return found


def retry_seconds(error: grpc.RpcError, default: float) -> float:
    """Seconds that the server asked to wait (RetryInfo), or `default`."""
    for detail in status_details(error):
        if isinstance(detail, error_details_pb2.RetryInfo):
            return float(detail.retry_delay.ToNanoseconds() / 1e9)
    return default
