"""Calls to the members of a role, wherever they are now.

The controller knows where each member serves; a restarted one has another port. An address is asked for once, kept,
and asked for again when nothing answers there. A call is sent again until the member answers or patience ends, so
send nothing through here but idempotent methods.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import grpc.aio
import structlog

from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.errors import retry_seconds
from areal_mesh.runtime.identity import ROLE_NAMES, Identity
from areal_mesh.runtime.security.probe import why_not_connected
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc

T = TypeVar("T")
Send = Callable[[grpc.aio.Channel, float], Awaitable[T]]
"""Sends one call over a channel, with the timeout in seconds that it is given."""

_LOG = structlog.get_logger("members")
_FIND_SECONDS = 10.0
_FIRST_BACKOFF = 0.1
_LAST_BACKOFF = 2.0
# CANCELLED comes from a server that stops under the call; DEADLINE_EXCEEDED from one that was cut off.
_GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
_UNFIT = (common_pb2.SERVICE_STATE_LOST, common_pb2.SERVICE_STATE_STOPPED)


class MemberUnreachable(ConnectionError):
    """No member of the role answered within the caller's patience."""


@dataclass(frozen=True)
class Patience:
    """How long a call may take, in seconds."""

    attempt_seconds: float
    """Deadline of one attempt."""
    unreachable_seconds: float = 120.0
    """Longest time without any answer: a member that was killed is started again within it."""
    exhausted_seconds: float = 600.0
    """Longest time in which a member says that it is full (RESOURCE_EXHAUSTED with RetryInfo)."""


def choose_member(members: "list[controller_pb2.Member]", avoid: str | None = None) -> "controller_pb2.Member | None":
    """The member to call: one that serves before one that starts or drains, another address than `avoid` if any.

    None where every member is lost or stopped, or there is none.
    """
    fit = [member for member in members if member.state not in _UNFIT]
    ranked = sorted(fit, key=lambda member: (member.state != common_pb2.SERVICE_STATE_SERVING, member.address == avoid))
    return ranked[0] if ranked else None


def backoff_seconds(failures: int) -> float:
    """Seconds to wait after so many failures in a row (from 1): doubling from 0.1 to 2."""
    return float(min(_FIRST_BACKOFF * 2 ** min(failures - 1, 10), _LAST_BACKOFF))


@dataclass
class _Link:
    """A channel and who uses it: closing one in use would cancel its users' tasks."""

    address: str
    channel: grpc.aio.Channel
    users: int = 0
    retired: bool = False


@dataclass
class _Attempts:
    """What went wrong with one call so far."""

    patience: Patience
    started: float = field(default_factory=time.monotonic)
    silent_since: float | None = None
    failures: int = 0

    def answered(self) -> None:
        self.silent_since = None
        self.failures = 0

    def silent(self) -> None:
        self.failures += 1
        if self.silent_since is None:
            self.silent_since = time.monotonic()

    def seconds_left(self) -> float:
        """Until patience ends; not positive once it has."""
        now = time.monotonic()
        left = self.patience.exhausted_seconds - (now - self.started)
        if self.silent_since is not None:
            left = min(left, self.patience.unreachable_seconds - (now - self.silent_since))
        return left


class Members:
    """Channels to the controller and, by role, to the members it names. Controller traffic has its own channel."""

    def __init__(self, controller: str, identity: Identity) -> None:
        self._identity = identity
        self._controller = _Link(controller, open_channel(controller, identity))
        self._links: dict[str, _Link] = {}
        self._gone: dict[str, str] = {}
        self._locks = {role: asyncio.Lock() for role in ROLE_NAMES}
        self._closing = asyncio.Event()

    async def call(self, role: str, send: Send[T], patience: Patience) -> T:
        """Sends an idempotent call to a member of `role` and returns its answer.

        Sent again while nobody answers (at an address asked for anew) and while the member says RESOURCE_EXHAUSTED
        with RetryInfo (after the time it names).

        Raises:
            MemberUnreachable: patience ended.
            grpc.aio.AioRpcError: the member refused; sending again would not help.
        """
        attempts = _Attempts(patience)
        while True:
            try:
                return await self._attempt(role, send, patience.attempt_seconds)
            except MemberUnreachable as error:
                attempts.silent()
                cause: Exception = error
                delay = backoff_seconds(attempts.failures)
            except grpc.aio.AioRpcError as error:
                cause = error
                delay = self._delay_after(error, attempts)
            if attempts.seconds_left() <= delay or await wait_until(self._closing, delay):
                raise MemberUnreachable(f"no {role} took the call: {_describe(cause)}") from cause

    async def close(self) -> None:
        """Closes every channel; calls still waiting give up."""
        self._closing.set()
        for link in [self._controller, *self._links.values()]:
            await link.channel.close()
        self._links.clear()

    def _delay_after(self, error: grpc.aio.AioRpcError, attempts: _Attempts) -> float:
        """Seconds to wait before sending again. Raises `error` where that would not help."""
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            # Without RetryInfo it is gRPC itself, about a message that is too large however often it is sent.
            delay = retry_seconds(error, -1.0)
            if delay < 0:
                raise error
            attempts.answered()
            return delay
        if error.code() not in _GONE:
            raise error
        attempts.silent()
        return backoff_seconds(attempts.failures)

    async def _attempt(self, role: str, send: Send[T], seconds: float) -> T:
        link = await self._link(role)
        link.users += 1
        try:
            return await send(link.channel, seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() in _GONE:
                self._retire(role, link)
            await self._explain(role, link, error)
            raise
        finally:
            link.users -= 1
            if link.retired and link.users == 0:
                await link.channel.close()

    async def _explain(self, role: str, link: _Link, error: grpc.aio.AioRpcError) -> None:
        """Says what keeps a member from being reached over TLS, of which gRPC says that the socket was closed."""
        if error.code() is not grpc.StatusCode.UNAVAILABLE or self._identity.credentials is None:
            return
        if why := await why_not_connected(link.address, self._identity.credentials):
            _LOG.warning("a member is not reached", role=role, address=link.address, why=why)

    async def _link(self, role: str) -> _Link:
        if role == "controller":
            return self._controller
        async with self._locks[role]:
            if role not in self._links:
                address = await self._find(role)
                self._links[role] = _Link(address, open_channel(address, self._identity, "bulk"))
                _LOG.info("found a member", role=role, address=address)
            return self._links[role]

    async def _find(self, role: str) -> str:
        stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(
            self._controller.channel
        )
        request = controller_pb2.FindMembersRequest(role=ROLE_NAMES[role])
        found = await stub.FindMembers(request, timeout=_FIND_SECONDS)
        member = choose_member(list(found.members), self._gone.get(role))
        if member is None:
            raise MemberUnreachable(f"the controller at {self._controller.address} knows no {role} that serves")
        return member.address

    def _retire(self, role: str, link: _Link) -> None:
        if self._links.get(role) is link:
            del self._links[role]
            self._gone[role] = link.address
            link.retired = True


def _describe(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error)
