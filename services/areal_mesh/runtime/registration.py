"""A service's membership in the run: registers, keeps the heartbeat going, registers again when forgotten."""

import asyncio
import time
from dataclasses import dataclass, field

import grpc
import grpc.aio
import structlog

from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.durations import from_duration
from areal_mesh.runtime.errors import StartupError, retry_seconds
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.security.probe import why_not_connected
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.text import plain_text
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc

_LOG = structlog.get_logger("membership")
_CALL_SECONDS = 10.0
# CANCELLED comes from a controller that stops under the call, RESOURCE_EXHAUSTED from one whose disk is full.
_AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


class RefusedError(StartupError):
    """The controller serves another run, which the service's troubles do not concern."""


@dataclass(frozen=True)
class HeartbeatReport:
    """What a service says of itself in a heartbeat.

    `group_ids`: leases a generator still works on. `rate`: so many of `rate_unit` (tokens, groups, answers) a second.
    `metrics`: by metric name. `fault`: what holds the service up, for a person, such as a full disk; empty for nothing.
    """

    state: common_pb2.ServiceState.ValueType = common_pb2.SERVICE_STATE_SERVING
    policy_version: int = -1
    group_ids: tuple[str, ...] = ()
    rate: float = 0.0
    rate_unit: str = ""
    seconds_since_progress: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class HeartbeatOrders:
    """What the controller answers: whether to drain, and which leases are no longer this member's."""

    drain: bool
    lost_group_ids: tuple[str, ...]


class Membership:
    """The calls that make and keep a service a member.

    A controller that is away is waited for, `unreachable_seconds` at most: it is restarted from its ledger meanwhile.
    """

    def __init__(
        self,
        controller: str,
        identity: Identity,
        run: RunIdentity,
        standing: HeardStanding | None = None,
        unreachable_seconds: float = 120.0,
    ) -> None:
        self._standing = standing or HeardStanding()
        self._identity = identity
        self._run = run
        self._controller = controller
        self._channel = open_channel(controller, identity)
        self._stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(
            self._channel
        )
        self._unreachable_seconds = unreachable_seconds
        self._registration: controller_pb2.RegisterRequest | None = None
        self._last_answer = time.monotonic()
        self.interval_seconds = 1.0

    async def register(self, address: str, policy_version: int, transfer_ranks: int) -> controller_pb2.RegisterResponse:
        """Registers under `address`, waiting for a controller that is not up yet.

        Raises:
            ConnectionError: no controller answered within `unreachable_seconds`.
            RefusedError: the controller serves another run.
        """
        self._registration = controller_pb2.RegisterRequest(
            service_id=self._identity.service_id,
            role=self._identity.role_number,
            address=address,
            incarnation=self._identity.incarnation,
            policy_version=policy_version,
            transfer_ranks=transfer_ranks,
            run_name=self._run.name,
            run_id=self._run.run_id,
        )
        return await self._send_registration()

    async def _send_registration(self) -> controller_pb2.RegisterResponse:
        assert self._registration is not None
        began = time.monotonic()
        while True:
            left = max(_CALL_SECONDS, began + self._unreachable_seconds - time.monotonic())
            try:
                response = await self._stub.Register(self._registration, timeout=left, wait_for_ready=True)
                break
            except grpc.aio.AioRpcError as error:
                full = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                if not full or time.monotonic() - began > self._unreachable_seconds:
                    raise await self._refusal(error) from error
                _LOG.warning("the controller cannot take it in yet", cause=error.details())
                await asyncio.sleep(retry_seconds(error, 1.0))
        _LOG.info("registered", controller=self._controller, run=str(self._run))
        self._last_answer = time.monotonic()
        self.interval_seconds = from_duration(response.heartbeat_interval) or 1.0
        self._standing.hear(response.standing)
        return response

    async def _refusal(self, error: grpc.aio.AioRpcError) -> Exception:
        """What a registration that failed for good means."""
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            why = await why_not_connected(self._controller, self._identity.credentials)
            return ConnectionError(
                f"no controller answered at {self._controller} within {self._unreachable_seconds:.0f} s; "
                f"{why or 'is it running?'}"
            )
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            return RefusedError(f"the controller at {self._controller} refuses it: {error.details()}")
        return error

    async def beat(self, report: HeartbeatReport) -> HeartbeatOrders:
        """Sends one heartbeat; registers again if the controller has forgotten this member.

        Raises:
            ConnectionError: the controller has been away for longer than `unreachable_seconds`.
        """
        request = controller_pb2.HeartbeatRequest(
            service_id=self._identity.service_id,
            incarnation=self._identity.incarnation,
            state=report.state,
            policy_version=report.policy_version,
            group_ids=report.group_ids,
            rate=report.rate,
            rate_unit=report.rate_unit,
            seconds_since_progress=report.seconds_since_progress,
            metrics=report.metrics,
            fault=plain_text(report.fault),
        )
        try:
            response = await self._stub.Heartbeat(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return await self._after_failure(error, report)
        self._last_answer = time.monotonic()
        self.interval_seconds = from_duration(response.interval) or self.interval_seconds
        self._standing.hear(response.standing)
        return HeartbeatOrders(response.drain, tuple(response.lost_group_ids))

    async def _after_failure(self, error: grpc.aio.AioRpcError, report: HeartbeatReport) -> HeartbeatOrders:
        if error.code() is grpc.StatusCode.NOT_FOUND and self._registration is not None:
            _LOG.info("the controller does not know this member; registering again")
            self._registration.policy_version = report.policy_version
            await self._send_registration()
        elif error.code() not in _AWAY:
            raise error
        elif time.monotonic() - self._last_answer > self._unreachable_seconds:
            raise ConnectionError(
                f"the controller at {self._controller} has not answered for {self._unreachable_seconds:.0f} s"
            ) from error
        return HeartbeatOrders(False, ())

    async def deregister(self, reason: str, fault: str = "") -> None:
        """Leaves the run; a controller that is gone already is no error.

        `fault`: why the service cannot start, which status then shows.
        """
        request = controller_pb2.DeregisterRequest(
            service_id=self._identity.service_id,
            incarnation=self._identity.incarnation,
            reason=reason,
            fault=plain_text(fault),
            run_name=self._run.name,
            run_id=self._run.run_id,
        )
        try:
            await self._stub.Deregister(request, timeout=2.0)
        except grpc.aio.AioRpcError as error:
            _LOG.info("left without the controller's answer", code=error.code().name)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()
