"""The disk of a running mesh is filled to its last byte: the console says so, and with room again the run goes on."""

from pathlib import Path

import pytest

from tests.e2e.whole_mesh import assert_sums_hold, read_json, started, wait_for_step
from tests.integration.small_disk import fill, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_run_waits_for_room_and_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    # Steps enough to go on for some seconds after there is room, in which the fault is seen to be gone.
    overrides = ("name=full", "controller.listen=127.0.0.1:7469", "stages.0.max_steps=6", "stages.1.max_steps=54")
    with small_disk(tmp_path / "disk", 600) as disk, started("trial-short", disk, *overrides) as launcher:
        wait_for_step(launcher, 3)
        filler = fill(disk)
        assert launcher.stdout is not None
        lines = []
        for line in launcher.stdout:
            lines.append(line)
            if "is full" in line and "nothing is leased meanwhile" in line:
                break
        assert "nothing is leased meanwhile" in lines[-1], lines
        # What the controller has given back to itself is taken too.
        fill(disk)
        filler.unlink()
        rest, _ = launcher.communicate(timeout=600)
        assert launcher.returncode == 0, rest
        assert "no fault any more" in rest
        assert "restart" not in "".join(lines) + rest, "no service ended for it"
        summary = read_json(disk / "full" / "summary.json")
    assert summary["steps"] == 60
    assert set(summary["service_starts"].values()) == {1}
    assert_sums_hold(summary)
