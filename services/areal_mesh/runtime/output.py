"""Output that nobody is obliged to read: a run goes on when its terminal or its pipe is gone."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class LastingStream:
    """A text stream that falls silent for good at its first failure, such as a closed pipe or a terminal that is gone.

    Everything but writing is the stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._silent = False

    def write(self, text: str) -> int:
        """Writes the text, or drops it."""
        with self._falling_silent():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes what was written, if anybody reads it."""
        with self._falling_silent():
            self._stream.flush()

    @contextlib.contextmanager
    def _falling_silent(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            if self._silent:
                raise
            self._silent = True
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(stream: TextIO) -> None:
    """Points the stream's descriptor at nothing, so that what is left in its buffer cannot fail at the exit either."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Standard output and error of this process are `LastingStream`s meanwhile."""
    output, errors = cast(TextIO, LastingStream(sys.stdout)), cast(TextIO, LastingStream(sys.stderr))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        yield
