"""Status and control servicers that are simulated: what a client meets at a controller's address."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from areal_mesh.runtime.errors import failed_precondition
from areal_mesh.v1 import common_pb2, controller_pb2, status_pb2, status_pb2_grpc


def example_status(step: int = 7) -> status_pb2.RunStatus:
    status = status_pb2.RunStatus(
        run_name="example",
        state=status_pb2.RUN_STATE_RUNNING,
        stage=common_pb2.Stage(index=1, name="16", max_response_tokens=64),
        stages=3,
        step=step,
        stage_step=2,
        planned_steps=110,
        policy_version=step,
        published_version=step - 1,
        step_metrics={"reward": 1.25, "response_length": 30.5, "truncated": 0.25, "group_reward_std": 0.5},
        replay=status_pb2.ReplayStatus(waiting_groups=3, waiting_bytes=4096),
        staleness={1: 30, 0: 10},
        groups=status_pb2.GroupCounts(leased=50, trained=40, open=10),
    )
    status.started.GetCurrentTime()
    service = status.services.add(
        role=common_pb2.ROLE_GENERATOR,
        service_id="generator-0",
        address="127.0.0.1:40000",
        state=common_pb2.SERVICE_STATE_PENDING_WEIGHTS,
        policy_version=-1,
        starts=2,
    )
    service.since_progress.FromMilliseconds(1500)
    return status


def example_steps(*steps: int) -> list[status_pb2.Step]:
    stage = common_pb2.Stage(index=1, name="16", max_response_tokens=64)
    return [status_pb2.Step(step=step, stage=stage, metrics={"reward": float(step)}) for step in steps]


class SimulatedStatus(status_pb2_grpc.StatusServiceServicer):
    def __init__(self) -> None:
        self.overruns = False
        self.asked_after: list[int | None] = []

    async def GetStatus(self, request: Any, context: Any) -> status_pb2.GetStatusResponse:
        return status_pb2.GetStatusResponse(status=example_status())

    async def WatchStatus(self, request: Any, context: Any) -> AsyncIterator[status_pb2.WatchStatusResponse]:
        self.asked_after.append(request.after_step if request.HasField("after_step") else None)
        if request.HasField("after_step"):
            yield status_pb2.WatchStatusResponse(status=example_status(12), steps=example_steps(12))
            return
        for step, new in ((7, (7,)), (8, (8,)), (11, (9, 10, 11))):
            yield status_pb2.WatchStatusResponse(status=example_status(step), steps=example_steps(*new))
        if self.overruns:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "a watch has its deadline")


class SimulatedController:
    """The control calls of a person; a registered servicer needs the names of all, and gets the rest as unasked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def unasked(request: Any, context: Any) -> Any:
            raise failed_precondition(f"{name} is not simulated")

        return unasked

    async def Pause(self, request: Any, context: Any) -> controller_pb2.PauseResponse:
        self.calls.append("pause")
        return controller_pb2.PauseResponse()

    async def Resume(self, request: Any, context: Any) -> controller_pb2.ResumeResponse:
        self.calls.append("resume")
        return controller_pb2.ResumeResponse()

    async def Stop(self, request: Any, context: Any) -> controller_pb2.StopResponse:
        self.calls.append(f"stop: {request.reason}")
        return controller_pb2.StopResponse()

    async def AdvanceStage(self, request: Any, context: Any) -> controller_pb2.AdvanceStageResponse:
        if request.from_stage != 1:
            raise failed_precondition("the run is in stage 1")
        return controller_pb2.AdvanceStageResponse(stage=common_pb2.Stage(index=2, name="24", max_response_tokens=96))

    async def GetConfig(self, request: Any, context: Any) -> controller_pb2.GetConfigResponse:
        return controller_pb2.GetConfigResponse(settings_json='{"stages": [{"max_steps": 4}, {"max_steps": 8}]}')
