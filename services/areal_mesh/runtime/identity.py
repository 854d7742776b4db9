"""Who a process is: its role, its name, which of its lives this is, and the run it belongs to."""

import importlib.metadata
import uuid
from dataclasses import dataclass, field
from functools import cache

from areal_mesh.runtime.security.credentials import Credentials
from areal_mesh.runtime.watchdog.open_calls import OpenCalls
from areal_mesh.v1 import common_pb2

ROLE_NAMES = {
    "controller": common_pb2.ROLE_CONTROLLER,
    "generator": common_pb2.ROLE_GENERATOR,
    "verifier": common_pb2.ROLE_VERIFIER,
    "replay": common_pb2.ROLE_REPLAY,
    "learner": common_pb2.ROLE_LEARNER,
    "client": common_pb2.ROLE_CLIENT,
}


@dataclass(frozen=True)
class Identity:
    """A member of the mesh.

    `role` is one of ROLE_NAMES; `service_id` stays over restarts; `incarnation` differs for each life. `credentials`
    prove it to others over TLS; without them it speaks plain text. `calls` are those that it has sent under this
    identity and that are not answered.
    """

    role: str
    service_id: str
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)
    credentials: Credentials | None = field(default=None, repr=False, compare=False)
    calls: OpenCalls = field(default_factory=OpenCalls, compare=False, repr=False)

    @property
    def role_number(self) -> common_pb2.Role.ValueType:
        """The role as the contracts number it."""
        return ROLE_NAMES[self.role]


@dataclass(frozen=True)
class RunIdentity:
    """Which run a process belongs to.

    `name` comes from the settings. `run_id` is given to all services by whoever started them and tells runs of one name
    apart; empty where they were started one by one.
    """

    name: str
    run_id: str = ""

    def differs_from(self, other: "RunIdentity") -> bool:
        """Whether the two are certainly not the same run: what one of them does not say is not compared."""
        pairs = ((self.name, other.name), (self.run_id, other.run_id))
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)

    def __str__(self) -> str:
        return f"{self.name} (id {self.run_id})" if self.run_id else self.name


def role_name(number: int) -> str:
    """The name of a role of the contracts: `generator` for ROLE_GENERATOR, `unknown` for a number of none."""
    return next((name for name, value in ROLE_NAMES.items() if value == number), "unknown")


@cache
def version() -> str:
    """The installed release; read once, for every status says it."""
    try:
        return importlib.metadata.version("areal-mesh")
    except importlib.metadata.PackageNotFoundError:  # run from the tree
        return "unknown"
