"""A member as the controller knows it: one life of a service."""

from dataclasses import dataclass, field

from areal_mesh.v1 import common_pb2
from areal_mesh.v1.common_pb2 import Role, ServiceState


def holder_key(service_id: str, incarnation: str) -> str:
    """Names one life of a service: what the ledger writes as a group's holder."""
    return f"{service_id}/{incarnation}"


@dataclass
class Member:
    """One life of a service. Times are monotonic seconds."""

    service_id: str
    incarnation: str
    role: Role.ValueType
    address: str
    policy_version: int
    transfer_ranks: int
    seen_at: float
    starts: int
    state: ServiceState.ValueType = common_pb2.SERVICE_STATE_STARTING
    quarantined: bool = False
    publish_failure: str = ""
    """Why weights did not reach it the last time; empty once they have."""
    reports_without_weights: int = 0
    """Heartbeats in a row that say it has no weights."""
    rate: float = 0.0
    rate_unit: str = ""
    progress_at: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    key: str = field(init=False)
    """Names this life."""

    def __post_init__(self) -> None:
        self.key = holder_key(self.service_id, self.incarnation)

    @property
    def lost(self) -> bool:
        """Whether it has been silent for longer than its lease."""
        return self.state == common_pb2.SERVICE_STATE_LOST


@dataclass(frozen=True)
class Introduction:
    """What a service says when it registers."""

    service_id: str
    incarnation: str
    role: Role.ValueType
    address: str
    policy_version: int
    transfer_ranks: int
