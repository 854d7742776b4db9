"""A bit flips in the log of a running mesh, and its replay buffer is killed: the console says why within seconds."""

import time
from pathlib import Path

import pytest

from areal_mesh.replay.segment_file import RECORDS_START
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from tests.e2e.whole_mesh import service_process, started, wait_for_step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SOON_SECONDS = 30.0  # on a machine that also generates and trains


def test_damage_ends_the_run_with_file_and_byte_on_the_console(tmp_path: Path) -> None:
    overrides = ("name=damaged", "controller.listen=127.0.0.1:7467")
    with started("trial-short", tmp_path, *overrides) as launcher:
        wait_for_step(launcher, 2)
        segment = tmp_path / "damaged" / "replay" / "groups" / "0000000001.segment"
        with segment.open("r+b") as file:
            file.seek(RECORDS_START + 100)
            (old,) = file.read(1)
            file.seek(RECORDS_START + 100)
            file.write(bytes([old ^ 1]))
        killed_at = time.monotonic()
        service_process(launcher.pid, "replay").kill()
        rest, _ = launcher.communicate(timeout=300)
        seconds = time.monotonic() - killed_at
    assert launcher.returncode == EXIT_CANNOT_START, rest
    assert f"{segment}: damaged at byte {RECORDS_START}, though records up to byte" in rest
    assert seconds < SOON_SECONDS, rest
