"""ControllerService: each call is one of a group's, which has what it uses."""

from typing import Any

from areal_mesh.controller.calls.heartbeats import HeartbeatCalls
from areal_mesh.controller.calls.leases import LeaseCalls
from areal_mesh.controller.calls.members import MemberCalls
from areal_mesh.controller.calls.people import PeopleCalls
from areal_mesh.controller.calls.steps import StepCalls
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc


class ControllerServicer(controller_pb2_grpc.ControllerServiceServicer):
    """The controller's calls, by the names of the contract."""

    def __init__(
        self,
        members: MemberCalls,
        heartbeats: HeartbeatCalls,
        leases: LeaseCalls,
        steps: StepCalls,
        people: PeopleCalls,
    ) -> None:
        self._members = members
        self._heartbeats = heartbeats
        self._leases = leases
        self._steps = steps
        self._people = people

    async def Announce(self, request: controller_pb2.AnnounceRequest, context: Any) -> controller_pb2.AnnounceResponse:
        return await self._members.announce(request)

    async def Register(self, request: controller_pb2.RegisterRequest, context: Any) -> controller_pb2.RegisterResponse:
        return await self._members.register(request)

    async def Deregister(
        self, request: controller_pb2.DeregisterRequest, context: Any
    ) -> controller_pb2.DeregisterResponse:
        return await self._members.deregister(request)

    async def FindMembers(
        self, request: controller_pb2.FindMembersRequest, context: Any
    ) -> controller_pb2.FindMembersResponse:
        return await self._members.find(request)

    async def Heartbeat(
        self, request: controller_pb2.HeartbeatRequest, context: Any
    ) -> controller_pb2.HeartbeatResponse:
        return await self._heartbeats.beat(request)

    async def LeaseGroups(
        self, request: controller_pb2.LeaseGroupsRequest, context: Any
    ) -> controller_pb2.LeaseGroupsResponse:
        return await self._leases.lease(request)

    async def EndLease(self, request: controller_pb2.EndLeaseRequest, context: Any) -> controller_pb2.EndLeaseResponse:
        return await self._leases.end(request)

    async def ReportStale(
        self, request: controller_pb2.ReportStaleRequest, context: Any
    ) -> controller_pb2.ReportStaleResponse:
        return await self._leases.report_stale(request)

    async def NextStep(self, request: controller_pb2.NextStepRequest, context: Any) -> controller_pb2.NextStepResponse:
        return await self._steps.next(request)

    async def CheckBatch(
        self, request: controller_pb2.CheckBatchRequest, context: Any
    ) -> controller_pb2.CheckBatchResponse:
        return await self._steps.check_batch(request)

    async def CommitStep(
        self, request: controller_pb2.CommitStepRequest, context: Any
    ) -> controller_pb2.CommitStepResponse:
        return await self._steps.commit(request)

    async def Pause(self, request: controller_pb2.PauseRequest, context: Any) -> controller_pb2.PauseResponse:
        return await self._people.pause(request)

    async def Resume(self, request: controller_pb2.ResumeRequest, context: Any) -> controller_pb2.ResumeResponse:
        return await self._people.resume(request)

    async def Stop(self, request: controller_pb2.StopRequest, context: Any) -> controller_pb2.StopResponse:
        return await self._people.stop(request)

    async def AdvanceStage(
        self, request: controller_pb2.AdvanceStageRequest, context: Any
    ) -> controller_pb2.AdvanceStageResponse:
        return await self._people.advance_stage(request)

    async def TakeCheckpoint(
        self, request: controller_pb2.TakeCheckpointRequest, context: Any
    ) -> controller_pb2.TakeCheckpointResponse:
        return await self._people.take_checkpoint(request)

    async def GetConfig(
        self, request: controller_pb2.GetConfigRequest, context: Any
    ) -> controller_pb2.GetConfigResponse:
        return await self._people.config(request)
