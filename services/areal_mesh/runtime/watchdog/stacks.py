"""Where every thread and every task of this process stands, as text."""

import asyncio
import io
import sys
import threading
import traceback
from collections.abc import Iterator


def stacks(loop: asyncio.AbstractEventLoop) -> str:
    """The stacks of all threads, then of the tasks of `loop`; callable from any thread."""
    return "\n".join([*_threads(), *_tasks(loop)])


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        yield f"thread {names.get(ident, ident)}"
        yield "".join(traceback.format_stack(frame))


def _tasks(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    for task in asyncio.all_tasks(loop):
        text = io.StringIO()
        task.print_stack(file=text)
        yield text.getvalue()
