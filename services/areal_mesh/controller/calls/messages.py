"""What several calls decode and encode."""

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from areal_mesh.runtime.durations import from_duration
from areal_mesh.runtime.settings import StageSettings
from areal_mesh.v1 import common_pb2

_LONGEST_WAIT_SECONDS = 60.0


def stage_message(plans: Sequence[StageSettings], index: int) -> common_pb2.Stage:
    """A stage as the contracts say it."""
    plan = plans[index]
    return common_pb2.Stage(index=index, name=plan.name, max_response_tokens=plan.max_response_tokens)


def wait_seconds(wait: Duration) -> float:
    """Seconds that a long poll may wait."""
    return min(from_duration(wait), _LONGEST_WAIT_SECONDS)
