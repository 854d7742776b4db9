"""A terminal that a person could sit at: a session of a tmux server of its own, typed into and read."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZES = ((120, 35), (80, 24))
_CALL_SECONDS = 20
_REDRAW_SECONDS = 1.5
"""A view is drawn four times a second, and anew with the next status; nothing tells of a frame."""

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="NO TMUX on this machine: apt-get install tmux")


class Terminal:
    """One session."""

    def __init__(self, socket: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._socket = socket
        self._environment = dict(environment) | {"TERM": "xterm-256color"}
        columns, lines = SIZES[0]
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", str(folder), "bash --norc")
        self._tmux("set-option", "-g", "window-size", "manual")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_CALL_SECONDS, env=self._environment
        )
        return done.stdout

    def type(self, text: str) -> None:
        """Types a line."""
        self._tmux("send-keys", text, "Enter")

    def text(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    def at_each_size(self) -> dict[tuple[int, int], list[str]]:
        """The lines of the screen at each size; it ends at the first."""
        screens = {}
        for size in (*SIZES, SIZES[0]):
            self._tmux("resize-window", "-x", str(size[0]), "-y", str(size[1]))
            time.sleep(_REDRAW_SECONDS)
            screens[size] = self.text().rstrip("\n").split("\n")
        return screens

    def until(self, what: str, holds: Callable[[str], bool], seconds: float) -> None:
        """Waits until the screen shows something. AssertionError, with the screen, where it never does."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if holds(self.text()):
                return
            time.sleep(0.2)
        raise AssertionError(f"{what} was never shown:\n{self.text()}")

    def close(self) -> None:
        """Ends the session, and what runs in it."""
        self._tmux("kill-server")


@contextmanager
def terminal(folder: Path, start: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A session whose shell begins in `start`; its socket lies in `folder`."""
    opened = Terminal(folder / "tmux", start, environment)
    try:
        yield opened
    finally:
        opened.close()


def keep(screens: Mapping[tuple[int, int], list[str]], moment: str, folder: Path) -> None:
    """Writes the screens of a moment as text files."""
    folder.mkdir(parents=True, exist_ok=True)
    for (columns, lines), shown in screens.items():
        text = "\n".join(line.rstrip() for line in shown) + "\n"
        (folder / f"{moment}-{columns}x{lines}.txt").write_text(text, encoding="utf-8")
