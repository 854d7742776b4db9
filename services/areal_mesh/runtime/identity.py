"""Who a process is: its role, its name, and which of its lives this is."""

import uuid
from dataclasses import dataclass, field

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

    `role` is one of ROLE_NAMES; `service_id` stays over restarts; `incarnation` differs for each life.
    """

    role: str
    service_id: str
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def role_number(self) -> common_pb2.Role.ValueType:
        """The role as the contracts number it."""
        return ROLE_NAMES[self.role]


def role_name(number: int) -> str:
    """The name of a role of the contracts: `generator` for ROLE_GENERATOR, `unknown` for a number of none."""
    return next((name for name, value in ROLE_NAMES.items() if value == number), "unknown")
