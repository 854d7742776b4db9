"""Output goes on as long as somebody reads it, and falls silent after that; the command does not end over it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from areal_mesh.runtime.output import LastingStream
from areal_mesh.runtime.signals import drain_signals

PATIENCE_SECONDS = 20.0
SHOWING = """
import sys
from rich.console import Console
from areal_mesh.cli.display import PlainDisplay
from areal_mesh.runtime.output import lasting_output
with lasting_output():
    display = PlainDisplay(Console(), [1])
    display.say("first")
    sys.stdin.readline()
    for number in range(2000):
        display.say(f"line {number}, longer than a buffer keeps for ever")
    print("a table", flush=True)
    print("a remark", file=sys.stderr, flush=True)
sys.exit(7)
"""


RECIPE = """
import runpy, sys
import areal_mesh.recipes.arithmetic.folder as folder
folder.make_model = lambda *_, **__: True
sys.argv = ["arithmetic", "--model-folder", sys.argv[1], "--prompts", sys.argv[2], "--problems", "3", "--seed", "1"]
print("begins", flush=True)
sys.stdin.readline()
runpy.run_module("areal_mesh.recipes.arithmetic", run_name="__main__")
"""


@pytest.fixture
def closed_pipe() -> Iterator[TextIO]:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        yield stream


def test_a_pipe_that_nobody_reads_is_written_to_in_silence(closed_pipe: TextIO) -> None:
    stream = LastingStream(closed_pipe)
    for _ in range(3):
        assert stream.write("text\n") == 5
        stream.flush()
    assert stream.fileno() == closed_pipe.fileno()
    assert not stream.isatty()


def test_a_display_outlives_the_reader_of_its_lines() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SHOWING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "first\n"
    process.stdout.close()
    process.stdin.write("\n")
    process.stdin.close()
    errors = process.stderr.read()
    assert process.wait(PATIENCE_SECONDS) == 7
    assert errors == "a remark\n"


def test_a_recipe_makes_what_it_is_asked_for_though_nobody_reads_its_lines(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", RECIPE, str(tmp_path / "model"), str(prompts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert len(prompts.read_text(encoding="utf-8").splitlines()) == 3


def test_a_hangup_drains_unless_it_was_to_be_ignored() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in drain_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
        assert signal.SIGHUP not in drain_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
