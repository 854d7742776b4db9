"""Looking for processes while they come and go."""

from collections.abc import Iterator

import psutil


def words_of(process: psutil.Process) -> list[str]:
    """The command line of a process; empty of one that has ended, zombies among them."""
    try:
        words = process.cmdline()
        return [] if process.status() == psutil.STATUS_ZOMBIE else words
    except psutil.NoSuchProcess:  # psutil.ZombieProcess is one
        return []


def started_with(word: str) -> Iterator[psutil.Process]:
    """The live children of this process that have `word` in their command line."""
    return (child for child in psutil.Process().children() if word in " ".join(words_of(child)))
