"""The tokens of the grammar that SymPy's `parse_latex` reads by."""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.grading.trees.nodes import Unparsed

_TOKEN: Final = re.compile(
    r"\s+|\\(?:[,:;!]|quad|qquad|left|right|limits)(?![a-zA-Z])|"
    r"(?P<number>(?:\d+(?:,\d{3})*)?\.\d+|\d+(?:,\d{3})*)|(?P<command>\\[a-zA-Z]+|\\[{}|])|(?P<differential>d(?=[a-zA-Z]))|"
    r"(?P<sign>[a-zA-Z+\-*/:=<>!^_(){}\[\]|,.'])",
    re.ASCII,
)


class Unknown(Unparsed):
    """A character that the grammar does not know: an error wherever it is looked at."""


class Tokens:
    """A place in a text, and the token there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.end = 0
        self.token = ""
        self.kind = ""
        self.bars = 0
        self.depth = 0
        self.advance()

    def advance(self) -> None:
        """On to the next token. One that the grammar does not know is an error, though nothing may come of it."""
        self.at = self.end
        self.token = self.kind = ""
        while self.at < len(self.text):
            match = _TOKEN.match(self.text, self.at)
            if match is None:
                raise Unknown(f"{self.text[self.at]!r} is not read")
            self.end = match.end()
            if match.lastgroup is not None:
                self.kind = match.lastgroup
                self.token = match.group()
                if self.kind == "differential":
                    self.end += 1
                    self.token = self.text[self.at : self.end]
                return
            self.at = self.end

    def expect(self, token: str) -> None:
        if self.token != token:
            raise Unparsed(f"expected {token!r}")
        self.advance()
