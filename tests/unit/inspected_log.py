"""A log with real groups in it, to be looked at from outside."""

from pathlib import Path

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import GroupSummary
from areal_mesh.runtime.groups import payload_crc32c
from areal_mesh.v1 import rollout_pb2
from tests.unit.stored_groups import make_group

SEGMENT_BYTES = 6000


def group(number: int) -> rollout_pb2.Group:
    made = make_group([20 + number, 30])
    made.group_id = f"g{number}"
    made.sequence = number
    made.crc32c = payload_crc32c(made)
    return made


async def fill(directory: Path, groups: int = 12, steps: int = 3, release: int = 0, keep: bool = False) -> ReplayBuffer:
    """A log of groups, of which each step takes two; one is stale, and one of the last batch is set aside."""
    buffer = ReplayBuffer(directory, 1 << 20, SEGMENT_BYTES, keep_released=keep)
    for number in range(groups):
        payload = group(number).SerializeToString()
        oldest = 0 if number == 5 else 3
        await buffer.append(GroupSummary(f"g{number}", number, oldest, len(payload)), payload)
    for step in range(1, steps + 1):
        await buffer.draw(DrawRequest(step, 2, 3, 1), 0)
    await buffer.set_aside(3, ["g6"])
    await buffer.draw(DrawRequest(3, 2, 3, 1), 0)
    if release:
        await buffer.release(release)
    return buffer


def segments(directory: Path) -> list[Path]:
    return sorted((directory / "groups").glob("*.segment"))


def flip(path: Path, byte: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)
