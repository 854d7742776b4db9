"""A filtered group over real gRPC: its lease ends with the reason and the tokens, and nothing of it is stored."""

from pathlib import Path

import pytest

from areal_mesh.v1 import controller_pb2
from tests.integration.generator_mesh import Mesh, run_mesh

CASES = {
    # Of two responses to "4" one is right.
    "filter pass_rate: too many correct": {"filters": [{"type": "pass_rate", "at_most": 0.25}]},
    "": {"filters": ["equal_verdicts"]},
}


@pytest.mark.parametrize("reason", CASES)
async def test_a_filtered_group_ends_with_its_reason_and_is_not_stored(tmp_path: Path, reason: str) -> None:
    async def work(mesh: Mesh) -> None:
        mesh.controller.plan("4")
        end = (await mesh.ended("4"))["4"]
        expected = controller_pb2.LEASE_END_FILTERED if reason else controller_pb2.LEASE_END_STORED
        assert (end.end, end.reason, end.response_tokens) == (expected, reason, 5)

    mesh = await run_mesh(tmp_path, work, algorithm=CASES[reason])
    assert list(mesh.replay.groups) == ([] if reason else ["group-4"])
    assert mesh.service.report().metrics["groups_filtered" if reason else "groups_stored"] == 1
