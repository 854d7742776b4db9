"""Group commit: acknowledgement after the sync, order, a disk that fails, a process that is killed."""

import errno
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from areal_mesh.replay import log as replay_log
from areal_mesh.replay.log import DurableLog, LogBroken
from areal_mesh.replay.records import Record
from areal_mesh.replay.segments import LogFull
from areal_mesh.runtime.settings.services import Durability

SEGMENT_BYTES = 1 << 16

APPENDER = """
import os, sys
from pathlib import Path
from areal_mesh.replay.log import DurableLog

log = DurableLog(Path(sys.argv[1]), 1 << 20, 1, lambda record: None)
number = 0
while True:
    following = range(number, number + 5)
    appended = [log.append(1, (n.to_bytes(8, "little"), bytes([n % 251]) * 50_000)) for n in following]
    for done in appended:
        done.result(timeout=60)
        os.write(1, number.to_bytes(8, "little"))
        number += 1
"""


def open_log(directory: Path, segment_bytes: int = SEGMENT_BYTES) -> tuple[DurableLog, list[Record]]:
    records: list[Record] = []
    return DurableLog(directory, segment_bytes, 1, records.append), records


class Gate:
    """Stands for `os.fdatasync`: holds each sync until it is opened, and counts them."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.syncs = 0

    def __call__(self, descriptor: int) -> None:
        self.reached.set()
        assert self.opened.wait(30)
        self.syncs += 1


def test_appends_during_a_sync_share_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = open_log(tmp_path)
    gate = Gate()
    monkeypatch.setattr(os, "fdatasync", gate)
    appended = [log.append(1, [b"first"])]
    assert gate.reached.wait(30)
    appended += [log.append(1, [b"later %d" % number]) for number in range(20)]
    assert not any(done.done() for done in appended)
    gate.opened.set()
    locations = [done.result(timeout=30) for done in appended]
    assert gate.syncs == log.commits == 2
    assert locations == sorted(locations, key=lambda location: (location.segment, location.offset))
    log.close()


def test_a_cancelled_append_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = open_log(tmp_path)
    gate = Gate()
    monkeypatch.setattr(os, "fdatasync", gate)
    log.append(1, [b"first"])
    assert gate.reached.wait(30)
    cancelled = log.append(1, [b"cancelled"])
    assert cancelled.cancel()
    gate.opened.set()
    log.close()
    again, records = open_log(tmp_path)
    again.close()
    assert [record.payload for record in records] == [b"first"]


def test_a_failed_sync_acknowledges_nothing_and_breaks_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = open_log(tmp_path)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fdatasync", fail)
    appended = log.append(1, [b"lost"])
    with pytest.raises(LogBroken, match="the disk is gone"):
        appended.result(timeout=30)
    monkeypatch.undo()
    with pytest.raises(LogBroken):
        log.append(1, [b"later"])


def no_room(descriptor: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_refuses_the_record_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = open_log(tmp_path)
    log.append(1, [b"small"]).result(timeout=30)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_room)
        refused = log.append(1, [b"x" * SEGMENT_BYTES])
        with pytest.raises(LogFull, match="free space"):
            refused.result(timeout=30)
        log.append(1, [b"fits"]).result(timeout=30)
    log.append(1, [b"y" * SEGMENT_BYTES]).result(timeout=30)
    log.close()
    again, records = open_log(tmp_path)
    again.close()
    assert [record.payload[:5] for record in records] == [b"small", b"fits", b"yyyyy"]


def test_a_full_disk_takes_decisions_into_the_spare_and_no_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = open_log(tmp_path)
    log.append(1, [b"x" * (SEGMENT_BYTES - 100)]).result(timeout=30)
    assert log.full == ""
    usage = shutil.disk_usage
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_room)
        patch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=0))
        with pytest.raises(LogFull):
            log.append(1, [b"g" * 200]).result(timeout=30)
        assert "free space" in log.full
        assert [log.append(2, [b"d" * 200], decision=True).result(timeout=30).segment for _ in range(50)] == [2] * 50
        with pytest.raises(LogFull):
            log.append(1, [b"g" * 200]).result(timeout=30)
        assert 0 < log.decision_room < 1 << 20
    assert log.full == "", "the disk has room again"
    assert log.append(1, [b"g" * 200]).result(timeout=30).segment == 3
    assert (tmp_path / "spare").exists(), "made again for the next time"
    log.close()
    again, records = open_log(tmp_path)
    again.close()
    assert [record.kind for record in records] == [1] + [2] * 50 + [1]


@pytest.mark.parametrize(("durability", "syncs"), [("sync", 3), ("write", 0), ("none", 0)])
def test_durability_says_what_an_acknowledgement_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability, syncs: int
) -> None:
    monkeypatch.setattr(replay_log, "_SETTLE_SECONDS", 3600.0)
    log = DurableLog(tmp_path / "log", SEGMENT_BYTES, 1, lambda record: None, durability)
    gate = Gate()
    gate.opened.set()
    monkeypatch.setattr(os, "fdatasync", gate)
    for number in range(3):
        log.append(1, [b"%d" % number]).result(timeout=30)
    assert gate.syncs == syncs
    records: list[Record] = []
    killed = shutil.copytree(tmp_path / "log", tmp_path / "killed")
    DurableLog(killed, SEGMENT_BYTES, 1, records.append).close()
    assert [record.payload for record in records] == [b"0", b"1", b"2"]
    log.close()


def test_what_was_written_without_a_sync_is_synced_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DurableLog(tmp_path, SEGMENT_BYTES, 1, lambda record: None, "write")
    gate = Gate()
    gate.opened.set()
    monkeypatch.setattr(os, "fdatasync", gate)
    log.append(1, [b"a"]).result(timeout=30)
    assert gate.reached.wait(10)
    log.close()


def test_closing_makes_everything_durable_and_refuses_more(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    appended = [log.append(1, [b"%d" % number]) for number in range(50)]
    log.close()
    assert wait(appended, timeout=0).not_done == set()
    with pytest.raises(LogBroken, match="closed"):
        log.append(1, [b"late"])
    again, records = open_log(tmp_path)
    again.close()
    assert [int(record.payload) for record in records] == list(range(50))


@pytest.mark.parametrize("acknowledged_at_kill", [1, 17, 60])
def test_kill_9_loses_no_acknowledged_record(tmp_path: Path, acknowledged_at_kill: int) -> None:
    with subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path)], stdout=subprocess.PIPE) as appender:
        assert appender.stdout is not None
        acknowledged = 0
        while acknowledged < acknowledged_at_kill:
            assert select.select([appender.stdout], [], [], 60)[0], "nothing was acknowledged within a minute"
            acknowledged += len(os.read(appender.stdout.fileno(), 8)) // 8
        appender.send_signal(signal.SIGKILL)
        acknowledged += len(appender.stdout.read()) // 8
        assert appender.wait(timeout=30) == -signal.SIGKILL
    log, records = open_log(tmp_path)
    log.close()
    assert len(records) >= acknowledged >= acknowledged_at_kill
    for number, record in enumerate(records):
        assert record.payload == number.to_bytes(8, "little") + bytes([number % 251]) * 50_000
