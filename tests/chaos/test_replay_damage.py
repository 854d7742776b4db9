"""Flipped bits and cut files in the log of the replay buffer: what was acknowledged comes back, or a refusal names why.

The log lies as a killed process leaves it (its newest segments open), and as a clean stop does (all sealed). The
syncs of the recoveries are left out, for thousands of them would wait for the disk.
"""

import asyncio
import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import GroupSummary, RetiredGroup
from areal_mesh.replay.records import Record
from areal_mesh.replay.segment_file import RECORDS_START, CorruptLog
from areal_mesh.replay.segments import SegmentStore
from areal_mesh.runtime.errors import StartupError

FLIPS = 2500  # of each of the two logs
SEGMENT_BYTES = 20_000
GROUPS = 70
STEPS = 10
RELEASED = 4
BATCH = 5


@dataclass(frozen=True)
class Acknowledged:
    """What callers were told: payloads by id, batches by step, and of every group how it stands."""

    payloads: dict[str, bytes]
    batches: dict[int, tuple[str, ...]]
    described: list[RetiredGroup]


@pytest.fixture
def folder_in_memory() -> Iterator[Path]:
    """A folder for thousands of small files; in memory where the system has a place for that."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def without_syncs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(os, "fdatasync", lambda descriptor: None)
        yield


def names() -> list[str]:
    return [f"g{number:08d}" for number in range(GROUPS)]


async def fill(directory: Path, killed: Path) -> Acknowledged:
    """Fills a log with groups, batches, drops and releases; copies it to `killed` before it is closed."""
    buffer = ReplayBuffer(directory, 1 << 20, SEGMENT_BYTES)
    chance = random.Random(7)
    payloads, batches = {}, {}
    for index, name in enumerate(names()):
        payloads[name] = chance.randbytes(chance.randrange(200, 2500))
        oldest = 0 if index % 11 == 10 else 20
        assert not await buffer.append(GroupSummary(name, index, oldest, len(payloads[name])), payloads[name])
    for step in range(1, STEPS + 1):
        drawn = await buffer.draw(DrawRequest(step, BATCH, 20, 5), 0)
        assert drawn.group_ids is not None
        batches[step] = drawn.group_ids
    await buffer.release(RELEASED)
    described = buffer.find(names())
    shutil.copytree(directory, killed)
    buffer.close()
    return Acknowledged(payloads, batches, described)


async def check(directory: Path, told: Acknowledged) -> str:
    """Opens a log: either everything acknowledged is there, or the refusal is given back."""
    try:
        buffer = ReplayBuffer(directory, 1 << 20, SEGMENT_BYTES)
    except StartupError as error:
        return str(error)
    try:
        assert buffer.find(names()) == told.described
        for step in range(RELEASED + 1, STEPS + 1):
            assert (await buffer.draw(DrawRequest(step, 1, 99, 0), 0)).group_ids == told.batches[step]
            found = [group async for group in buffer.read(told.batches[step])]
            assert found == [told.payloads[name] for name in told.batches[step]]
        statistics = buffer.statistics(20)
        assert (statistics.last_drawn_step, statistics.released_step) == (STEPS, RELEASED)
        ended = sum(map(len, told.batches.values())) + sum(group.dropped_version >= 0 for group in told.described)
        assert statistics.waiting_groups == GROUPS - ended
    finally:
        buffer.close()
    return ""


def files_of(directory: Path) -> list[Path]:
    return sorted(directory.glob("*/*.segment"))


def flip(path: Path, chance: random.Random) -> int:
    """Flips a bit, in half of all cases among the records; returns its byte."""
    size = path.stat().st_size
    records = chance.random() < 0.5 and size > RECORDS_START
    byte = chance.randrange(RECORDS_START if records else 0, size)
    with path.open("r+b") as file:
        file.seek(byte)
        (old,) = file.read(1)
        file.seek(byte)
        file.write(bytes([old ^ 1 << chance.randrange(8)]))
    return byte


@pytest.mark.timeout(900)  # thousands of recoveries
@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped"])
@pytest.mark.usefixtures("without_syncs")
def test_no_flipped_bit_serves_a_wrong_group_or_loses_one_without_a_word(folder_in_memory: Path, stopped: bool) -> None:
    told = asyncio.run(fill(folder_in_memory / "sound", folder_in_memory / "killed"))
    sound = folder_in_memory / ("sound" if stopped else "killed")
    assert asyncio.run(check(shutil.copytree(sound, folder_in_memory / "copy"), told)) == ""
    chance = random.Random(2026)
    refused = 0
    for number in range(FLIPS):
        shutil.rmtree(folder_in_memory / "copy")
        copy = shutil.copytree(sound, folder_in_memory / "copy")
        path = chance.choice(files_of(copy))
        byte = flip(path, chance)
        damaged = path.read_bytes()
        refusal = asyncio.run(check(copy, told))
        if refusal:
            refused += 1
            found = re.search(r"byte (\d+)", refusal)
            assert str(path) in refusal, f"flip {number} at byte {byte} of {path}: {refusal}"
            assert found, refusal
            assert int(found[1]) <= byte
            assert path.read_bytes() == damaged, "a refusal cuts nothing off"
    assert refused > FLIPS // 4, "most flips among the records are of acknowledged ones"


def recovered(directory: Path, first: int) -> tuple[list[Record], str]:
    """The records that a recovery visits, and why it refuses; empty if it does not."""
    found: list[Record] = []
    try:
        SegmentStore(directory, SEGMENT_BYTES).recover(first, found.append)
    except CorruptLog as error:
        return found, str(error)
    return found, ""


@pytest.mark.timeout(900)  # thousands of recoveries
@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped"])
@pytest.mark.parametrize("folder", ["groups", "history"])
@pytest.mark.usefixtures("without_syncs")
def test_no_cut_of_a_tail_loses_an_acknowledged_record_without_a_word(
    folder_in_memory: Path, stopped: bool, folder: str
) -> None:
    asyncio.run(fill(folder_in_memory / "sound", folder_in_memory / "killed"))
    directory = folder_in_memory / ("sound" if stopped else "killed") / folder
    newest = max(directory.glob("*.segment"))
    for path in set(directory.glob("*.segment")) - {newest}:
        path.unlink()
    first = int(newest.stem)
    whole = newest.read_bytes()
    records, _ = recovered(directory, first)
    assert records
    end = records[-1].location.offset + 9 + records[-1].location.length
    # A byte at a time where there are records, and around; the allocated rest of an open segment in strides.
    cuts = {*range(min(end + 2000, len(whole))), *range(end, len(whole), 997)}
    for size in sorted(cuts, reverse=True):
        newest.write_bytes(whole[:size])
        found, refusal = recovered(directory, first)
        if size < end:
            assert re.search(rf"{newest}: .* byte \d+", refusal), (size, refusal)
        else:
            assert (refusal, found) == ("", records), size
