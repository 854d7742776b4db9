"""Ways in which a mesh could stand still for good: each comes about, is put right, and the run takes its steps again.

The whole mesh lives in one process, over real gRPC. All groups filtered is `test_unread_and_fruitless`, a clock that is
set is `test_controller_clock`; suspended processes and cut links are in `make soak`.
"""

import asyncio
from pathlib import Path

import pytest

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import GroupSummary
from areal_mesh.runtime.errors import MeshError
from areal_mesh.runtime.settings import RunSettings
from tests.integration.live_mesh import LiveMesh, live_mesh, live_settings

pytestmark = pytest.mark.timeout(180)
AWAY_SECONDS = 1.5
"""Longer than a lease: whoever is away is lost."""


def settings_of(folder: Path) -> RunSettings:
    """The live mesh with leases that lapse soon."""
    values = live_settings(folder).model_dump(mode="json")
    values["controller"]["lease_seconds"] = 1.0
    return RunSettings.model_validate(values)


async def goes_on(mesh: LiveMesh) -> None:
    """Two more steps: one may have been under way."""
    step = (await mesh.status()).step
    await mesh.until_step(step + 2)


@pytest.mark.parametrize("role", ["generator", "verifier", "learner", "replay"])
async def test_a_service_that_was_gone_for_longer_than_a_lease_is_waited_for(tmp_path: Path, role: str) -> None:
    async with live_mesh(settings_of(tmp_path)) as mesh:
        await mesh.until_step(2)
        await mesh.stop(role)
        await asyncio.sleep(AWAY_SECONDS)
        before = (await mesh.status()).step
        await asyncio.sleep(1.0)
        assert (await mesh.status()).step <= before + 1, f"nothing is trained without the {role} but what was there"
        await mesh.start(role)
        await goes_on(mesh)


async def test_everything_but_the_controller_gone_at_once_is_waited_for(tmp_path: Path) -> None:
    roles = ("learner", "generator", "verifier", "replay")
    async with live_mesh(settings_of(tmp_path)) as mesh:
        await mesh.until_step(2)
        for role in roles:
            await mesh.stop(role)
        await asyncio.sleep(AWAY_SECONDS)
        for role in reversed(roles):
            await mesh.start(role)
        await goes_on(mesh)


async def test_a_buffer_full_of_stale_groups_is_emptied_by_the_draw_that_finds_them(tmp_path: Path) -> None:
    size, room = 1000, 10
    buffer = ReplayBuffer(tmp_path, room * size, 1 << 20)
    for number in range(room):
        await buffer.append(GroupSummary(f"old{number}", number, 0, size), bytes(size))
    with pytest.raises(MeshError, match="wait to be drawn"):
        await buffer.append(GroupSummary("new0", room, 5, size), bytes(size))
    drawn = await asyncio.wait_for(buffer.draw(DrawRequest(6, 4, 5, 1), 60.0), 10.0)
    assert drawn.group_ids is None
    assert len(drawn.stale_group_ids) == room
    for number in range(4):
        await buffer.append(GroupSummary(f"new{number}", room + number, 5, size), bytes(size))
    assert (await buffer.draw(DrawRequest(6, 4, 5, 1), 60.0)).group_ids == ("new0", "new1", "new2", "new3")
    buffer.close()
