"""The client against a real server whose status and control servicers are simulated."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from areal_mesh.client import (
    ControllerUnreachable,
    MeshClient,
    RequestRefused,
    RunState,
    ServiceState,
    UnexpectedAnswer,
)
from areal_mesh.runtime.server import MeshServer
from tests.integration.simulated_controller import SimulatedController, SimulatedStatus
from tests.integration.tools import run_tool


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


async def test_control_calls_reach_the_controller(address: str, simulated_controller: SimulatedController) -> None:
    async with MeshClient.connect(address) as mesh:
        await mesh.pause()
        await mesh.resume()
        await mesh.stop("enough")
        stage = await mesh.advance_stage(1)
        config = await mesh.config()
    assert simulated_controller.calls == ["pause", "resume", "stop: enough"]
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


async def test_the_example_of_the_documents_runs(address: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    output = await run_tool(sys.executable, "-c", example.replace("127.0.0.1:7400", address))
    assert output == "16 7 1.25\n"
