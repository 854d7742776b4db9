"""What several integration tests are given."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from areal_mesh.runtime.server import MeshServer
from areal_mesh.v1 import controller_pb2_grpc, status_pb2_grpc
from tests.integration.controller_mesh import Mesh
from tests.integration.simulated_controller import SimulatedController, SimulatedStatus


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    """Members that join a controller, gone at the end of the test."""
    async with AsyncExitStack() as stack:
        yield Mesh(stack)


@pytest.fixture
def simulated_controller() -> SimulatedController:
    return SimulatedController()


@pytest.fixture
def simulated_status() -> SimulatedStatus:
    return SimulatedStatus()


@pytest.fixture
async def address(simulated_controller: SimulatedController, simulated_status: SimulatedStatus) -> AsyncIterator[str]:
    """Address of the simulated controller."""
    server = MeshServer("127.0.0.1:0")
    server.add(status_pb2_grpc.add_StatusServiceServicer_to_server, simulated_status, "areal_mesh.v1.StatusService")
    server.add(
        controller_pb2_grpc.add_ControllerServiceServicer_to_server,
        simulated_controller,
        "areal_mesh.v1.ControllerService",
    )
    port = await server.start()
    await server.set_serving(True)
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture
def free_address() -> str:
    """Address at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
