"""ControllerService: decodes, asks the run and the roster, answers. Long polls wait for changes, each with a deadline.

No call holds a lock, so leases go on while weights are published.
"""

from typing import Any

import structlog

from areal_mesh.controller.calls.leases import LeaseCalls
from areal_mesh.controller.calls.members import MemberCalls
from areal_mesh.controller.calls.parts import stage_message
from areal_mesh.controller.calls.steps import StepCalls
from areal_mesh.controller.changes import Change
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc

_LOG = structlog.get_logger("controller")


class ControllerServicer(MemberCalls, LeaseCalls, StepCalls, controller_pb2_grpc.ControllerServiceServicer):
    """ControllerService on the run's parts; the calls of a person are here."""

    async def Pause(self, request: controller_pb2.PauseRequest, context: Any) -> controller_pb2.PauseResponse:
        self._run.pause()
        self._changes.notify(Change.STATE)
        return controller_pb2.PauseResponse()

    async def Resume(self, request: controller_pb2.ResumeRequest, context: Any) -> controller_pb2.ResumeResponse:
        self._run.resume()
        self._changes.notify(Change.STATE)
        return controller_pb2.ResumeResponse()

    async def Stop(self, request: controller_pb2.StopRequest, context: Any) -> controller_pb2.StopResponse:
        _LOG.info("asked to stop", reason=request.reason)
        self._run.stop(request.reason)
        self._changes.notify(Change.STATE)
        return controller_pb2.StopResponse()

    async def AdvanceStage(
        self, request: controller_pb2.AdvanceStageRequest, context: Any
    ) -> controller_pb2.AdvanceStageResponse:
        entry = self._run.advance_stage(request.from_stage)
        _LOG.info("stage advanced by hand", stage=entry.stage, first_step=entry.first_step)
        self._changes.notify(Change.STATE)
        return controller_pb2.AdvanceStageResponse(stage=stage_message(self._run.plan.stages, entry.stage))

    async def GetConfig(
        self, request: controller_pb2.GetConfigRequest, context: Any
    ) -> controller_pb2.GetConfigResponse:
        return controller_pb2.GetConfigResponse(settings_json=self._parts.settings.model_dump_json())
