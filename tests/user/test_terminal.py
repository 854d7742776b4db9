"""The live view as a person has it: in tmux, at 120 by 35 and at 80 by 24, at every moment of a run.

With $AREAL_MESH_SCREENS the screens are kept there, as text: `docs/terminal` has those of one run.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.user.clone import environment, fresh_clone, typed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux on this machine: apt-get install tmux"),
]
SIZES = ((120, 35), (80, 24))
SECONDS = 300.0
RUN = (
    "up trial-short --set name=screens --set controller.listen=127.0.0.1:7468 "
    "--set stages.0.max_steps=12 --set stages.1.max_steps=12"
)


class Terminal:
    """A session of a tmux server of its own."""

    def __init__(self, socket: Path, clone: Path) -> None:
        self._socket = socket
        columns, lines = SIZES[0]
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", str(clone), "bash --norc")
        self._tmux("set-option", "-g", "window-size", "manual")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20, env=environment()).stdout

    def type(self, text: str) -> None:
        """Types a line."""
        self._tmux("send-keys", text, "Enter")

    def screen(self, size: tuple[int, int] = SIZES[0]) -> list[str]:
        """What is on the screen, at a size; the view is given a second to draw itself anew."""
        self._tmux("resize-window", "-x", str(size[0]), "-y", str(size[1]))
        time.sleep(1.0)  # frames of the view come four times a second, and nothing tells of one
        return self._tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def until(self, what: str, holds: Callable[[str], bool]) -> None:
        """Waits until the screen shows something. AssertionError, with the screen, where it never does."""
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            text = self._tmux("capture-pane", "-p")
            if holds(text):
                return
            time.sleep(0.2)
        raise AssertionError(f"{what} was never shown:\n{self._tmux('capture-pane', '-p')}")

    def close(self) -> None:
        """Ends the session, and the run in it."""
        self._tmux("kill-server")


@contextmanager
def terminal(folder: Path, clone: Path) -> Iterator[Terminal]:
    opened = Terminal(folder / "tmux", clone)
    try:
        yield opened
    finally:
        opened.close()


def kept(moment: str, shown: Terminal) -> dict[tuple[int, int], str]:
    """The screen of a moment at each size, written where screens are kept."""
    screens = {}
    for size in SIZES:
        lines = shown.screen(size)
        assert len(lines) <= size[1]
        assert max(map(len, lines)) <= size[0]
        screens[size] = "\n".join(line.rstrip() for line in lines) + "\n"
        if folder := os.environ.get("AREAL_MESH_SCREENS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            name = f"{moment}-{size[0]}x{size[1]}.txt"
            (Path(folder) / name).write_text(screens[size], encoding="utf-8")
    return screens


def verifier_of(clone: Path) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "serve" in words and "verifier" in words and any(str(clone) in word or "screens" in word for word in words):
            return process
    raise AssertionError("no verifier runs")


def test_the_live_view_at_the_start_in_the_middle_at_a_restart_and_at_the_end(tmp_path: Path) -> None:
    clone = fresh_clone(tmp_path)
    typed("areal-mesh prepare trial-short", clone, 600.0)
    with terminal(tmp_path, clone) as shown:
        shown.type(f"areal-mesh {RUN}")
        shown.until("a service that loads", lambda text: "generator-0" in text and "starting" in text)
        for screen in kept("start", shown).values():
            assert "generator-0" in screen
            assert " s" in next(line for line in screen.splitlines() if "generator-0" in line), (
                "what it loads, how long"
            )
            assert "+0.00" not in screen
        shown.until("a step", lambda text: "step 3" in text or "step 4" in text or "step 5" in text)
        for screen in kept("middle", shown).values():
            for part in ("elapsed", "left", "reward", "truncated", "learner-0", "serving", "/24"):
                assert part in screen
        verifier_of(clone).send_signal(signal.SIGKILL)
        shown.until("the restart", lambda text: "1 restart" in text or "restart 1" in text)
        for screen in kept("restart", shown).values():
            assert "verifier-0 ended (signal 9" in screen or "verifier-0 ended (killed" in screen
        shown.until("the table", lambda text: "policy version" in text and "summary.json" in text)
        for screen in kept("end", shown).values():
            assert "summary.json" in screen
