"""The live view as a person has it: in tmux, at 120 by 35 and at 80 by 24, at every moment of a run.

With $AREAL_MESH_SCREENS the screens are kept there, as text: `docs/terminal` has those of one run.
"""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.integration.tmux import SIZES, Terminal, keep, needs_tmux, terminal
from tests.user.clone import environment, fresh_clone, typed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_tmux]
SECONDS = 300.0
RUN = (
    "up trial-short --set name=screens --set controller.listen=127.0.0.1:7468 "
    "--set stages.0.max_steps=12 --set stages.1.max_steps=12"
)


def kept(moment: str, shown: Terminal) -> list[str]:
    """The screens of a moment, each as one text; they fit their sizes, and are written where screens are kept."""
    screens = shown.at_each_size()
    for (columns, lines), text in screens.items():
        assert len(text) <= lines
        assert max(map(len, text)) <= columns
    if folder := os.environ.get("AREAL_MESH_SCREENS"):
        keep(screens, moment, Path(folder))
    return ["\n".join(screens[size]) for size in SIZES]


def verifier_of(clone: Path) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "serve" in words and "verifier" in words and any(str(clone) in word or "screens" in word for word in words):
            return process
    raise AssertionError("no verifier runs")


def test_the_live_view_at_the_start_in_the_middle_at_a_restart_and_at_the_end(tmp_path: Path) -> None:
    clone = fresh_clone(tmp_path)
    typed("areal-mesh prepare trial-short", clone, 600.0)
    with terminal(tmp_path, clone, environment()) as shown:
        shown.type(f"areal-mesh {RUN}")
        shown.until("a service that loads", lambda text: "generator-0" in text and "starting" in text, SECONDS)
        for screen in kept("start", shown):
            assert "generator-0" in screen
            assert " s" in next(line for line in screen.splitlines() if "generator-0" in line), (
                "what it loads, how long"
            )
            assert "+0.00" not in screen
        shown.until("a step", lambda text: "step 3" in text or "step 4" in text or "step 5" in text, SECONDS)
        for screen in kept("middle", shown):
            for part in ("elapsed", "left", "reward", "truncated", "learner-0", "serving", "/24"):
                assert part in screen
        verifier_of(clone).send_signal(signal.SIGKILL)
        shown.until("the restart", lambda text: "1 restart" in text or "restart 1" in text, SECONDS)
        for screen in kept("restart", shown):
            assert "verifier-0 ended (signal 9" in screen or "verifier-0 ended (killed" in screen
        shown.until("the table", lambda text: "policy version" in text and "summary.json" in text, SECONDS)
        for screen in kept("end", shown):
            assert "summary.json" in screen
