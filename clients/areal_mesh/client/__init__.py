"""The Python client of a run: its status, once or as a stream, and the calls by which a person steers it.

    async with MeshClient.connect("127.0.0.1:7400") as mesh:
        print((await mesh.status()).step_metrics["reward"])

Typed throughout, and importable with the base install alone: nothing here knows torch.
"""

from areal_mesh.client.credentials import client_credentials
from areal_mesh.client.errors import (
    ControllerTimeout,
    ControllerUnreachable,
    GeneratorUnreachable,
    MeshClientError,
    RequestRefused,
    UnexpectedAnswer,
)
from areal_mesh.client.generation import GeneratorClient, Started, Tokens
from areal_mesh.client.mesh import ControllerFacts, MeshClient
from areal_mesh.client.status import (
    FaultStatus,
    GroupCounts,
    ReplayStatus,
    RunState,
    RunStatus,
    ServiceState,
    ServiceStatus,
    Stage,
    Step,
)

__all__ = [
    "ControllerFacts",
    "ControllerTimeout",
    "ControllerUnreachable",
    "FaultStatus",
    "GeneratorClient",
    "GeneratorUnreachable",
    "GroupCounts",
    "MeshClient",
    "MeshClientError",
    "ReplayStatus",
    "RequestRefused",
    "RunState",
    "RunStatus",
    "ServiceState",
    "ServiceStatus",
    "Stage",
    "Started",
    "Step",
    "Tokens",
    "UnexpectedAnswer",
    "client_credentials",
]
