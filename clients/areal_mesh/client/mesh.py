"""The client: one object a controller, typed calls, errors of one family."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf import duration_pb2

from areal_mesh.client.errors import MeshClientError, from_rpc_error
from areal_mesh.client.status import RunStatus, Stage, run_status_of, stage_of
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.channels import TIME_KEY, VERSION_KEY, open_channel
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.security.credentials import Credentials
from areal_mesh.runtime.security.probe import why_not_connected
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, status_pb2, status_pb2_grpc

T = TypeVar("T")

DEFAULT_ADDRESS = "127.0.0.1:7400"
"""Where a controller listens unless the settings say otherwise."""
# A stream is opened anew after this long, so that even a watch of days has a deadline.
_WATCH_SECONDS = 3600.0


@dataclass(frozen=True)
class ControllerFacts:
    """What a controller says of itself: seconds since 1970 by its clock, and its release; None and "" where it does
    not."""

    unix_seconds: float | None
    version: str


class MeshClient:
    """Speaks to the controller of one run. Made by `connect`; usable until its block is left.

    Every call raises a `MeshClientError`: `ControllerUnreachable`, `ControllerTimeout`, `RequestRefused` or
    `UnexpectedAnswer`. Calls that may be repeated are, for about a second, while a controller is restarted.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        timeout: float,
        credentials: Credentials | None = None,
        waits: bool = False,
    ) -> None:
        self.address = address
        self._waits = waits
        self._credentials = credentials
        self._timeout = timeout
        self._status: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
        self._control: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(
            channel
        )

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = 5.0,
        credentials: Credentials | None = None,
        waits: bool = False,
    ) -> AsyncIterator[Self]:
        """Opens a client of the controller at `address` (host:port); connects on the first call.

        `timeout` is the deadline of each call but `watch`, in seconds; `credentials`, see `client_credentials`, are for
        a run over TLS. With `waits`, a call waits for a controller that is away, until its deadline: a program that
        goes through a restart of the controller gives both.

        Raises:
            ValueError: `address` is none.
        """
        Address.parse(address)
        identity = Identity("client", "areal-mesh-client", credentials=credentials)
        async with open_channel(address, identity) as channel:
            yield cls(channel, address, timeout, credentials, waits)

    async def status(self) -> RunStatus:
        """What the run does now."""
        request = status_pb2.GetStatusRequest()
        response = await self._answer(self._status.GetStatus, request, "GetStatus")
        return run_status_of(response.status)

    async def about(self) -> ControllerFacts:
        """The controller's clock and release, as far as it says them: older ones do not."""
        call = self._status.GetStatus(status_pb2.GetStatusRequest(), timeout=self._timeout)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise await self._failure(error, "GetStatus") from error
        said = {key: str(value) for key, value in await call.trailing_metadata() or ()}
        seconds = said.get(TIME_KEY)
        return ControllerFacts(None if seconds is None else float(seconds), said.get(VERSION_KEY, ""))

    async def watch(self, interval: float = 1.0) -> AsyncIterator[RunStatus]:
        """The status now and after each change, at most one every `interval` seconds; ends when the run's server ends.

        The first has the last step as its `new_steps`, and each other the steps since the status before it.

        Raises:
            ControllerUnreachable: the controller is not there, or went away. Whether to wait for it and watch again is
                the caller's choice.
        """
        request = status_pb2.WatchStatusRequest(interval=_duration(interval))
        while True:
            stream = self._status.WatchStatus(request, timeout=_WATCH_SECONDS)
            try:
                async for response in stream:
                    request.after_step = response.status.step
                    yield run_status_of(response.status, response.steps)
                return
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise await self._failure(error, "WatchStatus") from error
            finally:
                stream.cancel()

    async def pause(self) -> None:
        """Holds admission: nothing new is leased, and what runs goes on.

        Raises:
            RequestRefused: the run is stopping or finished.
        """
        await self._answer(self._control.Pause, controller_pb2.PauseRequest(), "Pause")

    async def resume(self) -> None:
        """Ends a pause.

        Raises:
            RequestRefused: the run is stopping or finished.
        """
        await self._answer(self._control.Resume, controller_pb2.ResumeRequest(), "Resume")

    async def stop(self, reason: str = "") -> None:
        """Ends the run after the step in progress; every service drains. Started again, the run goes on."""
        request = controller_pb2.StopRequest(reason=reason)
        await self._answer(self._control.Stop, request, "Stop")

    async def advance_stage(self, from_stage: int) -> Stage:
        """Goes on to the stage after `from_stage` now, and returns it.

        `from_stage` is the index of the stage that is to end, so that asking twice advances once.

        Raises:
            RequestRefused: it is the last stage, the run is in another one, or it is stopping or finished.
        """
        request = controller_pb2.AdvanceStageRequest(from_stage=from_stage)
        response = await self._answer(self._control.AdvanceStage, request, "AdvanceStage")
        return stage_of(response.stage)

    async def take_checkpoint(self) -> int:
        """Has the learner write a checkpoint after the step in progress, and returns that step.

        Raises:
            RequestRefused: the run is stopping or finished.
        """
        request = controller_pb2.TakeCheckpointRequest()
        response = await self._answer(self._control.TakeCheckpoint, request, "TakeCheckpoint")
        return response.step

    async def config(self) -> dict[str, Any]:
        """The resolved settings of the run, as `RunSettings` dumps them."""
        request = controller_pb2.GetConfigRequest()
        response = await self._answer(self._control.GetConfig, request, "GetConfig")
        settings: dict[str, Any] = json.loads(response.settings_json)
        return settings

    async def generators(self) -> list[str]:
        """Addresses of the run's generators that serve, in the order of their registration."""
        request = controller_pb2.FindMembersRequest(role=common_pb2.ROLE_GENERATOR)
        response = await self._answer(self._control.FindMembers, request, "FindMembers")
        serving = common_pb2.SERVICE_STATE_SERVING
        return [member.address for member in response.members if member.state == serving]

    async def _answer(self, method: Callable[..., Awaitable[T]], request: Any, call: str) -> T:
        try:
            return await method(request, timeout=self._timeout, wait_for_ready=self._waits)
        except grpc.aio.AioRpcError as error:
            raise await self._failure(error, call) from error

    async def _failure(self, error: grpc.aio.AioRpcError, call: str) -> MeshClientError:
        unreached = error.code() is grpc.StatusCode.UNAVAILABLE
        why = await why_not_connected(self.address, self._credentials) if unreached else ""
        return from_rpc_error(error, self.address, call, why)


def _duration(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
