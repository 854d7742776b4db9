"""Leaves no orphan: a watcher process that kills every registered session once its parent is gone, however it went.

A supervisor killed outright cannot clean up, and a parent-death signal reaches direct children alone: the engine
processes that a service started would live on. So a tiny process of its own session holds the end of a pipe; when the
pipe closes it kills what is still registered. The file runs on the standard library alone, as a script.

A service that nobody supervises has no session of its own to be killed by. What it starts binds itself to it instead,
with `die_with_parent`.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

_PR_SET_PDEATHSIG = 1


def kill_session(leader: int) -> None:
    """Kills every process of the session that `leader` opened, whatever group each is in; none left is no error.

    Safe against a reused number while `leader` is alive or not yet reaped.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for pid in _session_members(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def die_with_parent(parent: int) -> None:
    """Has the system kill this process, outright, once `parent`, the process that started it, is gone. Linux alone.

    The system watches the thread that started this process, not the whole parent: that thread has to live as long as
    this process is to.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it went before this process could ask
            os.kill(os.getpid(), signal.SIGKILL)


def _session_members(session: int) -> list[int]:
    """Processes of a session that left its first group; found through /proc, so on Linux alone."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # The command in parentheses may hold spaces; after it: state, parent, group, session.
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


class OrphanGuard:
    """The supervisor's end: register each session leader, release it once it is reaped."""

    def __init__(self) -> None:
        self._leaders: set[int] = set()
        self._process = _start()

    def watch(self, leader: int) -> None:
        """The session of `leader` dies with this process from now on."""
        self._leaders.add(leader)
        self._send(f"+{leader}\n")

    def release(self, leader: int) -> None:
        """The session of `leader` is gone."""
        self._leaders.discard(leader)
        self._send(f"-{leader}\n")

    def _send(self, line: str) -> None:
        try:
            self._write(line)
        except BrokenPipeError:  # somebody killed the watcher: another takes over what is registered
            self._process.wait()
            self._process = _start()
            self._write("".join(f"+{leader}\n" for leader in self._leaders))

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def close(self) -> None:
        """Ends the watcher; what is still registered dies."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _watch_pipe() -> None:
    leaders: set[int] = set()
    for line in sys.stdin:
        leader = int(line[1:])
        if line.startswith("+"):
            leaders.add(leader)
        else:
            leaders.discard(leader)
    for leader in leaders:
        kill_session(leader)


if __name__ == "__main__":
    _watch_pipe()
