"""What services wait for travels in their heartbeats, and leads `status --why` to the one that hangs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from areal_mesh.cli.why import chain_ends, why
from areal_mesh.client import MeshClient
from areal_mesh.runtime.waiting import wait_until
from tests.integration.live_mesh import BATCH_GROUPS, SECONDS, live_mesh, live_settings


class HangingGrader:
    """Grades nothing, ever."""

    async def grade_many(self, items: Sequence[Any], timeout_seconds: float) -> list[Any]:
        await asyncio.Event().wait()
        return []


async def test_a_verifier_that_hangs_is_found_by_why_and_by_nobody_else(tmp_path: Path) -> None:
    async with live_mesh(live_settings(tmp_path)) as mesh:
        await mesh.until_step(2)
        mesh.services["verifier"].grading.grader = HangingGrader()
        async with MeshClient.connect(mesh.addresses["controller"]) as client, asyncio.timeout(SECONDS):
            while True:
                status = await client.status()
                ends = [end.split(" ")[0] for end in chain_ends(status, BATCH_GROUPS)]
                if ends == ["verifier-0"]:
                    break
                await wait_until(asyncio.Event(), 0.2)
        lines = list(why(status, BATCH_GROUPS))
        (waiting,) = [line for line in lines if line.startswith("generator-0")]
        assert "waits for the verifier for " in waiting
        assert waiting.endswith(" s: Verify")
        assert lines[-1].startswith("the others wait for: verifier-0 (serving, no progress for ")
