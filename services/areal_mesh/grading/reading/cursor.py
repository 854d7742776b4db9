"""A position in a list of tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod

from areal_mesh.grading import limits
from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.trees.nodes import Node, Unparsed


class _Depth:
    """Counts levels. A plain object: a generator's context would take a twentieth of the time of reading."""

    def __init__(self) -> None:
        self.levels = 0

    def __enter__(self) -> None:
        self.levels += 1
        if self.levels > limits.NESTING:
            raise Unparsed("nesting deeper than the bound")

    def __exit__(self, *_: object) -> None:
        self.levels -= 1


class TokenReader(ABC):
    """Reads tokens from left to right, within the bound on nesting.

    The layers of the parser build on each other and on what their subclasses add: what a listing, a bracket and a
    scalar are.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self._depth = _Depth()
        self.bars = 0
        self.decimal_logarithms = False
        """Whether a logarithm without a base has the base ten."""

    def at_end(self) -> bool:
        return self.position >= len(self.tokens)

    def peek(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index].text if index < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index].kind if index < len(self.tokens) else ""

    def advance(self) -> None:
        self.position += 1

    def expect(self, text: str) -> None:
        if self.peek() != text:
            raise Unparsed(f"expected {text!r}, found {self.peek()!r}")
        self.advance()

    def expect_end(self) -> None:
        if not self.at_end():
            raise Unparsed(f"unexpected {self.peek()!r}")

    def letters(self) -> str:
        """The letters at the position, passed over."""
        parts = []
        while self.kind() == "letter":
            parts.append(self.peek())
            self.advance()
        return "".join(parts)

    def nested(self) -> _Depth:
        """One level deeper, within the bound, as a context."""
        return self._depth

    @abstractmethod
    def listing(self, closers: tuple[str, ...]) -> Node:
        """Items up to a closer or the end."""

    @abstractmethod
    def relation(self) -> Node:
        """A chain of relations, or its only side."""

    @abstractmethod
    def bracket(self) -> Node:
        """What brackets enclose."""

    @abstractmethod
    def scalar(self) -> Node:
        """A sum of terms."""

    @abstractmethod
    def factor(self) -> Node:
        """A primary with its powers and signs."""

    @abstractmethod
    def starts_factor(self) -> bool:
        """Whether a factor goes on here without a sign before it."""
