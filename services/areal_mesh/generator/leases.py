"""The generator's side of leases: taking groups from the controller, and saying how each ended."""

import uuid
from dataclasses import dataclass

import grpc
import grpc.aio
import structlog

from areal_mesh.runtime.calling import Members, MemberUnreachable, Patience
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.text import plain_text
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc

_LOG = structlog.get_logger("leases")
_WAIT_SECONDS = 5.0
_CALL_SECONDS = 10.0
# The controller has forgotten this member or its lease, or leases nothing now: no reason to end.
_NOT_NOW = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED)


@dataclass(frozen=True)
class GroupEnd:
    """How the generator's part of a group ended."""

    end: controller_pb2.LeaseEnd.ValueType
    reason: str = ""
    oldest_policy_version: int = -1
    """Of a stored group."""
    response_tokens: int = 0
    """Of a stored group, or of one that was filtered after it was sampled."""


RETURNED = GroupEnd(controller_pb2.LEASE_END_RETURNED, "the generator drains")


@dataclass(frozen=True)
class Leases:
    """The lease calls of one member. A controller that is away is waited for, 120 seconds at most."""

    members: Members
    identity: Identity

    async def take(self, max_groups: int) -> controller_pb2.LeaseGroupsResponse:
        """Leases up to `max_groups`, waiting some seconds for the first; empty where there is none now.

        Raises:
            MemberUnreachable: no controller answered.
        """
        request = controller_pb2.LeaseGroupsRequest(
            service_id=self.identity.service_id,
            incarnation=self.identity.incarnation,
            max_groups=max_groups,
            # One key for every attempt of this request: an answer that was lost comes again.
            idempotency_key=uuid.uuid4().hex,
        )
        request.wait.FromNanoseconds(int(_WAIT_SECONDS * 1e9))

        async def send(channel: grpc.aio.Channel, seconds: float) -> controller_pb2.LeaseGroupsResponse:
            stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
            return await stub.LeaseGroups(request, timeout=seconds)

        try:
            return await self.members.call("controller", send, Patience(_WAIT_SECONDS + _CALL_SECONDS))
        except grpc.aio.AioRpcError as error:
            if error.code() not in _NOT_NOW:
                raise
            _LOG.info("no lease now", code=error.code().name, cause=error.details())
            return controller_pb2.LeaseGroupsResponse()

    async def end(self, group_id: str, outcome: GroupEnd) -> None:
        """Says how a group ended. Where the controller does not take it, the lease lapses and is issued again."""
        request = controller_pb2.EndLeaseRequest(
            service_id=self.identity.service_id,
            incarnation=self.identity.incarnation,
            group_id=group_id,
            end=outcome.end,
            reason=plain_text(outcome.reason),
            oldest_policy_version=outcome.oldest_policy_version,
            response_tokens=outcome.response_tokens,
        )

        async def send(channel: grpc.aio.Channel, seconds: float) -> controller_pb2.EndLeaseResponse:
            stub: controller_pb2_grpc.ControllerServiceAsyncStub = controller_pb2_grpc.ControllerServiceStub(channel)
            return await stub.EndLease(request, timeout=seconds)

        try:
            await self.members.call("controller", send, Patience(_CALL_SECONDS))
        except (MemberUnreachable, grpc.aio.AioRpcError) as error:
            _LOG.warning("the controller did not take the end of a lease", group=group_id, cause=str(error))
