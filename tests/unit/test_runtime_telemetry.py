"""Logs on a full disk: lines are lost and counted, and the service goes on."""

import errno
import os
from pathlib import Path

import pytest

from areal_mesh.runtime.telemetry import LossyStream


def test_what_a_full_disk_does_not_take_is_counted_and_said_once_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    stream = LossyStream(writing)
    print("before", file=stream, flush=True)

    def no_room(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_room)
        stream.write("lost\n")
        stream.write("lost too\n")
    stream.write("after\n")
    os.close(writing)
    with os.fdopen(reading) as log:
        assert log.read() == "before\n(2 writes were lost: the disk was full)\nafter\n"


def test_any_other_error_of_the_disk_is_none_of_the_streams() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    with pytest.raises(OSError, match="Bad file descriptor"):
        LossyStream(writing).write("nowhere\n")


def test_what_nobody_reads_any_more_is_lost_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = LossyStream(writing)
    assert stream.write("into a closed pipe\n") == 19
    os.close(writing)


def test_a_terminal_that_is_gone_is_nobody_and_a_file_that_fails_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, ours = os.openpty()
    os.close(terminal)
    assert LossyStream(ours).write("to a terminal that is gone\n") == 27
    os.close(ours)

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with (tmp_path / "log").open("w") as file, monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(OSError, match="Input/output error"):
            LossyStream(file.fileno()).write("to a disk that is broken\n")
