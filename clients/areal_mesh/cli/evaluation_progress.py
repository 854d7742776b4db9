"""How far an evaluation has come: a bar on a terminal, lines elsewhere; on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LINES = 10


class Shown(Protocol):
    """What is told."""

    def ready(self, max_response_tokens: int) -> None:
        """The engine runs, with room for responses of so many tokens."""

    def response(self) -> None:
        """One more response has come."""

    def tokens(self, count: int, now: float) -> None:
        """The engine has generated `count` tokens in all at `now`, monotonic seconds."""


class _Lines:
    """A line at the start and for each tenth."""

    def __init__(self, label: str, asked: int, known: int) -> None:
        self._label = label
        self._asked = asked
        self._done = known
        self._told = _LINES * known // max(1, asked)
        self._rate = ""
        self._first: tuple[int, float] | None = None
        there = f", {known:,} of them there already" if known else ""
        self._say(f"{asked:,} responses{there}; the engine starts")

    def ready(self, max_response_tokens: int) -> None:
        self._say(f"generating, up to {max_response_tokens:,} tokens each")

    def response(self) -> None:
        self._done += 1
        tenth = _LINES * self._done // max(1, self._asked)
        if tenth > self._told:
            self._told = tenth
            self._say(f"{self._done:,} of {self._asked:,} responses{self._rate}")

    def tokens(self, count: int, now: float) -> None:
        self._rate = rate_text(self._first, count, now)
        self._first = self._first or (count, now)

    def _say(self, text: str) -> None:
        print(f"{self._label}: {text}", file=sys.stderr, flush=True)


def rate_text(first: tuple[int, float] | None, count: int, now: float) -> str:
    """Tokens a second since the first count; empty before there are two."""
    if first is None or now <= first[1]:
        return ""
    return f", {(count - first[0]) / (now - first[1]):,.0f} tokens/s"


@contextmanager
def progress(label: str, asked: int, known: int) -> Iterator[Shown]:
    """What is told how far a checkpoint has come. `known` of the `asked` responses are there from before."""
    if not sys.stderr.isatty():
        yield _Lines(label, asked, known)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{label}: the engine starts", total=asked, completed=known)

        class _Bar:
            first: tuple[int, float] | None = None

            def ready(self, max_response_tokens: int) -> None:
                bar.update(task, description=f"{label}: up to {max_response_tokens:,} tokens each")

            def response(self) -> None:
                bar.advance(task)

            def tokens(self, count: int, now: float) -> None:
                bar.update(task, description=f"{label}{rate_text(self.first, count, now)}")
                self.first = self.first or (count, now)

        yield _Bar()
