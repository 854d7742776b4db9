"""How a run is shown while it goes on: redrawn on a terminal, a line for each step and event elsewhere."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live

from areal_mesh.cli.service_rows import ProcessNotes
from areal_mesh.cli.view import changes, run_view, stage_line, step_line
from areal_mesh.client import RunStatus, Stage, Step

_NEWS_LINES = 5
_FRAMES_PER_SECOND = 4


class Display(Protocol):
    """What a run is shown on."""

    def show(self, status: RunStatus | None) -> None:
        """The run as it is now; None while its controller is away."""

    def step(self, step: Step) -> None:
        """A committed step; each is given once, in order."""

    def say(self, text: str) -> None:
        """One line of news."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class PlainDisplay:
    """Lines as they come, for output that cannot be redrawn: one a step, and one for each change of a service."""

    def __init__(self, console: Console, stage_steps: Sequence[int]) -> None:
        self._console = console
        self._stages = len(stage_steps)
        self._planned_steps = sum(stage_steps)
        self._before: RunStatus | None = None
        self._entered = -1

    def show(self, status: RunStatus | None) -> None:
        """Prints what changed since the last status."""
        if status is None:
            return
        for line in changes(self._before, status):
            self.say(line)
        self._enter(status.stage)
        self._planned_steps = status.planned_steps
        self._before = status

    def step(self, step: Step) -> None:
        """Prints the step's line."""
        self._enter(step.stage)
        self.say(step_line(step, self._planned_steps))

    def _enter(self, stage: Stage) -> None:
        """Prints that a stage began; the steps of the one before may still be on their way."""
        if stage.index > self._entered:
            self._entered = stage.index
            self.say(stage_line(stage, self._stages))

    def say(self, text: str) -> None:
        """Prints the line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveDisplay:
    """A view that is redrawn in place, with the last few lines of news under it."""

    def __init__(self, console: Console, stage_steps: Sequence[int], processes: Callable[[], ProcessNotes]) -> None:
        self._console = console
        self._size = console.size
        self._status: RunStatus | None = None
        self._news: deque[str] = deque(maxlen=_NEWS_LINES)
        self._stage_steps = stage_steps
        self._processes = processes
        self._live = Live(console=console, refresh_per_second=_FRAMES_PER_SECOND, get_renderable=self._render)

    def _render(self) -> RenderableType:
        size = self._console.size
        shape = (size.width, size.height)
        return run_view(self._status, self._stage_steps, self._processes(), tuple(self._news), shape)

    def show(self, status: RunStatus | None) -> None:
        """Shows the status from the next frame on; keeps the last one while the controller is away."""
        if self._console.size != self._size:
            # What a narrower terminal has folded is more lines than the view knows of, and some would stay.
            self._size = self._console.size
            self._console.clear()
        if status is not None:
            self._status = status

    def step(self, step: Step) -> None:
        """Nothing more: the status has the figures of the last step."""

    def say(self, text: str) -> None:
        """Adds the line to the news."""
        self._news.append(text)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)


def display_for(console: Console, stage_steps: Sequence[int], processes: Callable[[], ProcessNotes]) -> Display:
    """The display that suits the console. `stage_steps`: steps of each stage at most."""
    # A terminal such as TERM=dumb shows what is written and takes nothing back: a live view would stay blank there.
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, stage_steps, processes)
    return PlainDisplay(console, stage_steps)
