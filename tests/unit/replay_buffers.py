"""A replay buffer on a real disk, and small groups for it."""

from pathlib import Path

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import GroupSummary

SIZE = 1000
DEADLINE = 30.0


def open_buffer(directory: Path, limit: int = 100 * SIZE, segment_bytes: int = 3 * SIZE) -> ReplayBuffer:
    return ReplayBuffer(directory, limit, segment_bytes)


def payload(name: str) -> bytes:
    return name.encode().ljust(SIZE, b".")


async def store(buffer: ReplayBuffer, *names: str, oldest: int = 0) -> list[bool]:
    return [await buffer.append(GroupSummary(name, 0, oldest, SIZE), payload(name)) for name in names]


async def draw(buffer: ReplayBuffer, step: int, groups: int, version: int = 0, staleness: int = 1) -> list[str] | None:
    drawn = await buffer.draw(DrawRequest(step, groups, version, staleness), 0)
    return None if drawn.group_ids is None else list(drawn.group_ids)


def segment_names(directory: Path) -> list[str]:
    return sorted(path.stem.lstrip("0") for path in (directory / "groups").glob("*.segment"))
