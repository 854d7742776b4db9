"""An argument parser that says what was meant by a word that it does not know, and the version on demand."""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_CHOICE = re.compile(r"invalid choice: '(?P<given>.*?)' \(choose from (?P<known>.*)\)")
_OPTION = re.compile(r"unrecognized arguments: (?P<given>--?[\w-]+)")


class Parser(argparse.ArgumentParser):
    """As its base, with a suggestion for a mistyped command or option."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2; the message says what was meant, as far as that can be known."""
        meant = self._meant(message)
        super().error(f"{message}; did you mean {meant}?" if meant else message)

    def _meant(self, message: str) -> str:
        if found := _CHOICE.search(message):
            return _nearest(found["given"], re.findall(r"[\w-]+", found["known"]))
        if found := _OPTION.search(message):
            return _nearest(found["given"], options_of(self))
        return ""


def _nearest(given: str, known: Sequence[str]) -> str:
    return next(iter(difflib.get_close_matches(given, known, n=1, cutoff=0.6)), "")


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below a parser, by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a parser and of the commands below it."""
    own = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    below = [name for command in commands_of(parser).values() for name in options_of(command)]
    return sorted({*own, *below})


class ShowVersion(argparse.Action):
    """Prints the installed version, looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version, and end")

    def __call__(self, *_: Any) -> None:
        """Prints it, and ends."""
        from importlib.metadata import version

        print(f"areal-mesh {version('areal-mesh')}")
        sys.exit(0)
