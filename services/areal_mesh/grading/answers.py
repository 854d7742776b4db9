"""An answer in the forms that grading needs: its text, its tokens, the trees it can be read as."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cached_property
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.choices import value_after_letter
from areal_mesh.grading.reading.alternatives import other_spellings
from areal_mesh.grading.reading.lexer import tokenize
from areal_mesh.grading.reading.lookalikes import in_latex
from areal_mesh.grading.reading.parser import parse_tokens
from areal_mesh.grading.reading.spelling import stated_value
from areal_mesh.grading.reading.tokens import Token, canonical
from areal_mesh.grading.trees.nodes import Listing, Node, Number, Unparsed, Words

_PLAIN_NUMBER: Final = re.compile(r"(-?)(\d{1,40})(?:\.(\d{1,40}))?\Z", re.ASCII)
_ZERO_GROUP: Final = re.compile(r"\A[-\d]*\d,(?:\d{3},)*0\d\d(?:,\d{3})*\Z", re.ASCII)
_COMMA_GROUP: Final = re.compile(r"\d,(?:\\[, ])?\d{3}(?!\d)", re.ASCII)
_LONE_BACKSLASH: Final = re.compile(r"(?<!\\)\\\Z")
"""What is left of a control space at the end."""
_MARKUP: Final = re.compile(r"\A(?:\$+|\*{1,3}(?!\s)|__|`+)+|(?:(?<!\\)\$+|(?<!\^)(?<!\^\{)\*{1,3}|__|`+)+\Z")
"""Of LaTeX and Markdown, round the whole answer."""


class Answer:
    """An answer in the forms that the rules need, each made when first asked for."""

    def __init__(self, text: str, *, reference: bool = False) -> None:
        self._reference = reference
        plain = text if text.isascii() else in_latex(text[: 2 * limits.ANSWER_CHARS])
        plain = _MARKUP.sub("", _LONE_BACKSLASH.sub("", plain.strip())).strip()
        self.text = plain or text.strip().strip("$\\")  # what is nothing but markup is itself
        self._tokens: list[Token] | None = None
        self._problem: str | None = None
        self._readings: list[Node] | None = None

    def tokens(self) -> list[Token]:
        if self._tokens is None:
            try:
                self._tokens = tokenize(self.text)
            except Unparsed as problem:
                self._problem = str(problem)
                self._tokens = []
        return self._tokens

    @property
    def normalised(self) -> str:
        number = plain_number(self.text)
        if number is not None:
            return str(number.value) if number.decimals is None else self.text
        return self.canonical if self.tokens() else self.text[: limits.ANSWER_CHARS]

    @cached_property
    def canonical(self) -> str:
        """One spelling for all that differ in layout alone; empty where there are no tokens."""
        return canonical(self.tokens())

    @property
    def problem(self) -> str | None:
        """Why the answer does not parse; None where it does."""
        self.readings()
        return self._problem

    def decimal_readings(self) -> list[Node]:
        """As `readings`, with ten as the base of a logarithm without a base; empty where there is no logarithm."""
        if not any(token.text == r"\log" for token in self.tokens()):
            return []
        try:
            return [parse_tokens(list(self.tokens()), decimal_logarithms=True)]
        except Unparsed as problem:
            self._problem = str(problem)
            return []

    def readings(self) -> list[Node]:
        """Parsed readings: with commas as separators, and as thousands separators where they can be; what a sentence
        states; what stands after a choice's letter."""
        if self._readings is None:
            self._readings = self._read_all()  # at once: a reference's answer is shared by threads
        return self._readings

    def _read_all(self) -> list[Node]:
        found: list[Node] = []
        if _COMMA_GROUP.search(self.text):
            self._read_text(self.text, found)
        # No list has a member `000`.
        if self.tokens() and not (found and _ZERO_GROUP.search(self.text)):
            self._read(list(self.tokens()), found)
        if not found or _begins_with_words(found[0]):
            self._read_text(stated_value(self.text), found)
        self._read_text(value_after_letter(self.text), found)
        for other in other_spellings(self.text, reference=self._reference):
            self._read_text(other, found)
        return found

    def _read_text(self, text: str | None, found: list[Node]) -> None:
        """One more reading, of a text that is the answer or a part of it, or another spelling."""
        try:
            if text:
                self._read(tokenize(text, comma_groups=bool(_COMMA_GROUP.search(text))), found)
        except Unparsed as problem:
            self._problem = str(problem)

    def _read(self, tokens: list[Token], found: list[Node]) -> None:
        try:
            node = parse_tokens(tokens)
        except Unparsed as problem:
            self._problem = str(problem)
            return
        if node not in found:
            found.append(node)


def _begins_with_words(node: Node) -> bool:
    return isinstance(node, Words) or (isinstance(node, Listing) and isinstance(node.items[0], Words))


def plain_number(text: str) -> Number | None:
    match = _PLAIN_NUMBER.match(text)
    if match is None or not text.isascii():
        return None
    sign, whole, decimals = match.groups()
    value = Fraction(int(sign + whole + (decimals or "")), 10 ** len(decimals or ""))
    return Number(value, None if decimals is None else len(decimals))
