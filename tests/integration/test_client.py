"""The client and standard tools against a real server whose status and control servicers are simulated."""

import asyncio
import json
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from areal_mesh.client import (
    ControllerUnreachable,
    MeshClient,
    RequestRefused,
    RunState,
    ServiceState,
    UnexpectedAnswer,
)
from areal_mesh.runtime.errors import failed_precondition
from areal_mesh.runtime.server import MeshServer
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, status_pb2, status_pb2_grpc

BUF = Path(sys.executable).with_name("buf")
CALL_SECONDS = 20.0


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


@pytest.fixture
def controller() -> SimulatedController:
    return SimulatedController()


@pytest.fixture
def simulated_status() -> SimulatedStatus:
    return SimulatedStatus()


@pytest.fixture
async def address(controller: SimulatedController, simulated_status: SimulatedStatus) -> AsyncIterator[str]:
    server = MeshServer("127.0.0.1:0")
    server.add(status_pb2_grpc.add_StatusServiceServicer_to_server, simulated_status, "areal_mesh.v1.StatusService")
    server.add(
        controller_pb2_grpc.add_ControllerServiceServicer_to_server, controller, "areal_mesh.v1.ControllerService"
    )
    port = await server.start()
    await server.set_serving(True)
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture
def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_status_comes_as_plain_typed_values(address: str) -> None:
    async with MeshClient.connect(address) as mesh:
        status = await mesh.status()
    assert (status.run_name, status.state, status.stage.name, status.step) == ("example", RunState.RUNNING, "16", 7)
    assert status.staleness == {0: 10, 1: 30}
    assert status.mean_staleness == 0.75
    assert status.last_step is None
    (service,) = status.services
    assert status.to_dict()["step_metrics"]["group_reward_std"] == 0.5
    assert (service.role, service.state, service.policy_version) == ("generator", ServiceState.PENDING_WEIGHTS, -1)
    assert service.seconds_since_progress == 1.5
    assert json.loads(json.dumps(status.to_dict()))["services"][0]["state"] == "pending_weights"


async def test_a_watch_yields_each_status_and_ends_with_its_server(address: str) -> None:
    async with MeshClient.connect(address) as mesh:
        seen = [status async for status in mesh.watch(0.1)]
    assert [status.step for status in seen] == [7, 8, 11]
    assert [step.step for status in seen for step in status.new_steps] == [7, 8, 9, 10, 11]
    assert seen[-1].new_steps[-1].metrics == {"reward": 11.0}


async def test_a_watch_beyond_its_deadline_goes_on_after_the_last_step(
    address: str, simulated_status: SimulatedStatus
) -> None:
    simulated_status.overruns = True
    async with MeshClient.connect(address) as mesh:
        steps = [step.step async for status in mesh.watch(0.1) for step in status.new_steps]
    assert steps == [7, 8, 9, 10, 11, 12]
    assert simulated_status.asked_after == [None, 11]


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:99999", "::1:7400", "http://host:1"])
async def test_an_address_that_is_none_is_said_before_anything_is_called(address: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|is no host"):
        async with MeshClient.connect(address):
            pass


async def test_control_calls_reach_the_controller(address: str, controller: SimulatedController) -> None:
    async with MeshClient.connect(address) as mesh:
        await mesh.pause()
        await mesh.resume()
        await mesh.stop("enough")
        stage = await mesh.advance_stage(1)
        config = await mesh.config()
    assert controller.calls == ["pause", "resume", "stop: enough"]
    assert (stage.index, stage.max_response_tokens) == (2, 96)
    assert config["stages"][1]["max_steps"] == 8


async def test_a_refusal_says_who_refused_what_and_why(address: str) -> None:
    async with MeshClient.connect(address) as mesh:
        with pytest.raises(RequestRefused, match="the run is in stage 1") as refusal:
            await mesh.advance_stage(0)
    assert refusal.value.address == address
    assert refusal.value.call == "AdvanceStage"


async def test_nobody_there_is_said_at_once_with_the_address_and_what_would_do(free_address: str) -> None:
    async with asyncio.timeout(5), MeshClient.connect(free_address) as mesh:
        with pytest.raises(ControllerUnreachable, match=rf"{free_address}.*areal-mesh up"):
            await mesh.status()


async def test_a_server_that_is_no_controller_is_an_unexpected_answer() -> None:
    server = MeshServer("127.0.0.1:0")
    port = await server.start()
    async with MeshClient.connect(f"127.0.0.1:{port}") as mesh:
        with pytest.raises(UnexpectedAnswer, match="is that a controller"):
            await mesh.status()
    await server.stop(0)


async def test_health_is_answered_for_each_service(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "areal_mesh.v1.StatusService", "areal_mesh.v1.ControllerService"):
            response = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=CALL_SECONDS)
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="areal_mesh.v1.NoService"), timeout=CALL_SECONDS)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_answers_under_both_of_its_names(address: str) -> None:
    from grpc_reflection.v1alpha import reflection_pb2

    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with grpc.aio.insecure_channel(address) as channel:
        for version in ("v1", "v1alpha"):
            call = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )(iter([request]), timeout=CALL_SECONDS)
            response: Any = await call.read()
            names = {service.name for service in response.list_services_response.service}
            assert {"areal_mesh.v1.StatusService", "areal_mesh.v1.ControllerService"} <= names


async def run_tool(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(CALL_SECONDS):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.skipif(not BUF.exists(), reason="buf is not installed: pip install buf-bin")
async def test_buf_curl_lists_and_calls_the_status_service_by_reflection(address: str) -> None:
    common = (str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge")
    methods = await run_tool(*common, "--list-methods", f"http://{address}")
    assert "areal_mesh.v1.StatusService/GetStatus" in methods
    answer = await run_tool(*common, f"http://{address}/areal_mesh.v1.StatusService/GetStatus")
    assert json.loads(answer)["status"]["runName"] == "example"


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")
async def test_grpcurl_lists_and_calls_the_status_service_by_reflection(address: str) -> None:
    assert "areal_mesh.v1.StatusService" in await run_tool("grpcurl", "-plaintext", address, "list")
    answer = await run_tool("grpcurl", "-plaintext", address, "areal_mesh.v1.StatusService/GetStatus")
    assert json.loads(answer)["status"]["run_name"] == "example"


async def command(*arguments: str) -> tuple[int, str, str]:
    """Runs `areal-mesh`; returns exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "areal_mesh.cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(CALL_SECONDS):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_the_status_command_answers_for_people_and_as_json(address: str) -> None:
    code, text, _ = await command("status", "--controller", address)
    assert code == 0
    assert "generator-0" in text
    assert "7/110" in text
    assert "2/8" in text
    code, text, _ = await command("status", "--json", "--controller", address)
    assert (code, json.loads(text)["step_metrics"]["reward"]) == (0, 1.25)


async def test_watching_prints_a_line_a_step_and_one_object_a_status(address: str) -> None:
    _, text, _ = await command("status", "--watch", "--controller", address)
    steps = [line.split()[1].split("/")[0] for line in text.splitlines() if line.startswith("step")]
    assert steps == ["7", "8", "9", "10", "11"], "two statuses saw but one of the last three"
    _, text, _ = await command("status", "--watch", "--json", "--controller", address)
    objects = [json.loads(line) for line in text.splitlines()]
    assert [status["step"] for status in objects] == [7, 8, 11]
    assert [step["step"] for status in objects for step in status["new_steps"]] == [7, 8, 9, 10, 11]


async def test_the_control_commands_call_the_controller(address: str, controller: SimulatedController) -> None:
    for arguments in (["pause"], ["resume"], ["stop", "--reason", "enough"], ["stage", "next"]):
        code, _, errors = await command(*arguments, "--controller", address)
        assert code == 0, errors
    assert controller.calls == ["pause", "resume", "stop: enough"]


async def test_a_command_without_a_controller_fails_in_one_line(free_address: str) -> None:
    code, output, errors = await command("status", "--controller", free_address)
    assert (code, output) == (1, "")
    assert errors.count("\n") == 1
    assert errors.startswith(f"areal-mesh: no controller answers at {free_address}")


@pytest.mark.parametrize("address", ["", "localhost", ":7400", "127.0.0.1:99999", "127.0.0.1:0", "http://host:1"])
async def test_an_address_that_is_none_is_named_with_what_would_do(address: str) -> None:
    for arguments in (["status"], ["stage", "next"], ["config", "show"]):
        code, output, errors = await command(*arguments, "--controller", address)
        assert (code, output) == (2, "")
        assert f"argument --controller: '{address}' " in errors.splitlines()[-1]
        assert "grpc" not in errors.lower()


async def test_the_example_of_the_documents_runs(address: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    output = await run_tool(sys.executable, "-c", example.replace("127.0.0.1:7400", address))
    assert output == "16 7 1.25\n"
