"""An answer in the forms that grading needs: its text, its tokens, the trees it can be read as."""

from __future__ import annotations

import re
from fractions import Fraction
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
        tokens = self.tokens()
        return canonical(tokens) if tokens else self.text[: limits.ANSWER_CHARS]

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
            self._readings = []
            if _COMMA_GROUP.search(self.text):
                try:
                    self._read(tokenize(self.text, comma_groups=True))
                except Unparsed as problem:
                    self._problem = str(problem)
            # No list has a member `000`.
            if self.tokens() and not (self._readings and _ZERO_GROUP.search(self.text)):
                self._read(list(self.tokens()))
            if not self._readings or _begins_with_words(self._readings[0]):
                self._read_more(stated_value(self.text))
            self._read_more(value_after_letter(self.text))
            for other in other_spellings(self.text, reference=self._reference):
                self._read_more(other)
        return self._readings

    def _read_more(self, text: str | None) -> None:
        """One more reading, of a part of the text."""
        try:
            if text:
                self._read(tokenize(text, comma_groups=bool(_COMMA_GROUP.search(text))))
        except Unparsed as problem:
            self._problem = str(problem)

    def _read(self, tokens: list[Token]) -> None:
        try:
            node = parse_tokens(tokens)
        except Unparsed as problem:
            self._problem = str(problem)
            return
        assert self._readings is not None  # only `readings` calls this
        if node not in self._readings:
            self._readings.append(node)


def _begins_with_words(node: Node) -> bool:
    return isinstance(node, Words) or (isinstance(node, Listing) and isinstance(node.items[0], Words))


def plain_number(text: str) -> Number | None:
    match = _PLAIN_NUMBER.match(text)
    if match is None or not text.isascii():
        return None
    sign, whole, decimals = match.groups()
    value = Fraction(int(sign + whole + (decimals or "")), 10 ** len(decimals or ""))
    return Number(value, None if decimals is None else len(decimals))
