"""Every method of a contract has an answer of ours wherever its service is served.

What grpc_tools generates for a method that nobody wrote raises NotImplementedError: a caller gets UNIMPLEMENTED and the
log a traceback. So no servicer may leave one of them in place.
"""

from typing import Any

import pytest

from areal_mesh.controller.calls.servicer import ControllerServicer
from areal_mesh.controller.calls.status import StatusServicer
from areal_mesh.replay.service import ReplayService
from areal_mesh.runtime.farewell import Farewell
from areal_mesh.simulation.servicer import WeightsServicer
from areal_mesh.verifier.service import Grading


def left_generated(servicer: type) -> list[str]:
    """Methods whose generated body is what a caller would get."""
    return [
        f"{base.__name__}.{name}"
        for base in servicer.__mro__
        if base.__module__.endswith("_pb2_grpc") and base.__name__.endswith("Servicer")
        for name, method in vars(base).items()
        if name[0].isupper() and getattr(servicer, name) is method
    ]


@pytest.mark.parametrize(
    "servicer", [ControllerServicer, StatusServicer, ReplayService, Grading, Farewell, WeightsServicer]
)
def test_every_method_is_answered(servicer: type) -> None:
    assert left_generated(servicer) == []


def test_the_generator_and_the_learner_answer_every_method() -> None:
    pytest.importorskip("torch", reason="needs torch: install the learner and cpu extras")
    from areal_mesh.generator.servicer import GeneratorServicer
    from areal_mesh.learner.weight_sender import WeightSenderServicer

    assert left_generated(GeneratorServicer) + left_generated(WeightSenderServicer) == []


def test_a_method_that_nobody_wrote_is_found() -> None:
    from areal_mesh.v1.replay_pb2_grpc import ReplayServiceServicer

    class Unwritten(ReplayServiceServicer):
        async def AppendGroup(self, request: Any, context: Any) -> Any:
            """The only one that is written."""

    left = left_generated(Unwritten)
    assert "ReplayServiceServicer.DrawBatch" in left
    assert "ReplayServiceServicer.AppendGroup" not in left
