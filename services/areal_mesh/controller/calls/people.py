"""Calls of people: pause, resume, stop, the next stage, the settings."""

from dataclasses import dataclass

import structlog

from areal_mesh.controller.calls.messages import stage_message
from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.run import Run
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import controller_pb2

_LOG = structlog.get_logger("controller")


@dataclass(frozen=True)
class PeopleCalls:
    """What a person steers a run with."""

    run: Run
    changes: Changes
    settings: RunSettings

    async def pause(self, _request: controller_pb2.PauseRequest) -> controller_pb2.PauseResponse:
        """Holds admission and steps."""
        self.run.pause()
        self.changes.notify(Change.STATE)
        return controller_pb2.PauseResponse()

    async def resume(self, _request: controller_pb2.ResumeRequest) -> controller_pb2.ResumeResponse:
        """Ends a pause."""
        self.run.resume()
        self.changes.notify(Change.STATE)
        return controller_pb2.ResumeResponse()

    async def stop(self, request: controller_pb2.StopRequest) -> controller_pb2.StopResponse:
        """Ends the run after the step in progress."""
        _LOG.info("asked to stop", reason=request.reason)
        self.run.stop(request.reason)
        self.changes.notify(Change.STATE)
        return controller_pb2.StopResponse()

    async def advance_stage(self, request: controller_pb2.AdvanceStageRequest) -> controller_pb2.AdvanceStageResponse:
        """Goes on to the next stage."""
        entry = self.run.advance_stage(request.from_stage)
        _LOG.info("stage advanced by hand", stage=entry.stage, first_step=entry.first_step)
        self.changes.notify(Change.STATE)
        return controller_pb2.AdvanceStageResponse(stage=stage_message(self.run.settings.stages, entry.stage))

    async def take_checkpoint(
        self, _request: controller_pb2.TakeCheckpointRequest
    ) -> controller_pb2.TakeCheckpointResponse:
        """Has the learner write a checkpoint after the step in progress."""
        step = self.run.ask_for_checkpoint()
        _LOG.info("asked for a checkpoint", step=step)
        return controller_pb2.TakeCheckpointResponse(step=step)

    async def config(self, _request: controller_pb2.GetConfigRequest) -> controller_pb2.GetConfigResponse:
        """The run's settings, resolved."""
        return controller_pb2.GetConfigResponse(settings_json=self.settings.model_dump_json())
