"""A lock is one process's, names it, and is free once it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from areal_mesh.runtime.locks import FileLock, LockHeld

HOLD = (
    "import sys; from pathlib import Path; from areal_mesh.runtime.locks import FileLock;"
    "lock = FileLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def test_a_lock_is_one_processs_and_free_once_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld) as held:
            FileLock(path)
        assert held.value.holder == str(holder.pid)
        holder.kill()
        holder.wait(timeout=30)
        FileLock(path).release()


def test_a_released_lock_is_taken_again(tmp_path: Path) -> None:
    FileLock(tmp_path / "lock").release()
    FileLock(tmp_path / "lock").release()
