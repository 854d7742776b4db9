"""What a service asks before it loads anything, and while it does: whether the run still needs it.

A service that comes late to a run that is over would else load a model for minutes, and find no controller after it.
"""

import asyncio

import grpc
import grpc.aio
import structlog

from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.registration import RefusedError
from areal_mesh.runtime.security.probe import why_not_connected
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc

_LOG = structlog.get_logger("membership")
_AGAIN_SECONDS = 1.0
_CALL_SECONDS = 5.0
# Nobody to ask: a controller that is not up yet, is being restarted, or is older than the question.
_NO_ANSWER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNIMPLEMENTED,
)


class Announcement:
    """The question, with a channel of its own."""

    def __init__(self, controller: str, identity: Identity, run: RunIdentity) -> None:
        self._controller = controller
        self._credentials = identity.credentials
        self._channel = open_channel(controller, identity)
        self._request = controller_pb2.AnnounceRequest(
            service_id=identity.service_id,
            role=identity.role_number,
            incarnation=identity.incarnation,
            run_name=run.name,
            run_id=run.run_id,
        )

    async def over(self, patience_seconds: float) -> bool:
        """Whether the run needs this service no more; False where no controller answered within the patience.

        Raises:
            RefusedError: the controller serves another run.
        """
        stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(self._channel)
        try:
            response = await stub.Announce(self._request, timeout=patience_seconds, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise RefusedError(f"the controller at {self._controller} refuses it: {error.details()}") from error
            if error.code() not in _NO_ANSWER:
                raise
            if why := await why_not_connected(self._controller, self._credentials):
                _LOG.warning("the controller is not reached", controller=self._controller, why=why)
            return False
        if response.over:
            _LOG.info("the run is over and needs this service no more", controller=self._controller)
        return response.over

    async def until_over(self) -> None:
        """Asks again and again; returns once the run needs this service no more."""
        never = asyncio.Event()
        while not await self.over(_CALL_SECONDS):
            await wait_until(never, _AGAIN_SECONDS)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()
