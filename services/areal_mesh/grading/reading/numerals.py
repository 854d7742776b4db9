"""How number literals become tokens: thousands separators, repeating decimals, powers of ten."""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.reading.tokens import Kind, Token
from areal_mesh.grading.trees.nodes import Unparsed
from areal_mesh.grading.vocabulary import MARK

_GROUP: Final = r"(?:,\\!\s*|\{,\}\s*|\\[,;:]|~|\\ |\s|\s?\{\s*,\s*\}\s*)"
_EXPLICIT_GROUPS: Final = re.compile(rf"[1-9]\d{{0,2}}(?:{_GROUP}\d{{3}})+(?![\d])(?:\.\d+)?", re.ASCII)
COMMA_GROUPS: Final = re.compile(r"[1-9]\d{0,2}(?:,(?:\\[, ])?\d{3})+(?!\d)(?:\.\d+)?", re.ASCII)
_REPEATING: Final = re.compile(r"\d*\.\d*\\(?:overline|bar)\s*\{?(\d{1,12})\}?", re.ASCII)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?|\.\d+|\d+\.(?!\S)", re.ASCII)
# Without a point, `2e-3` may be twice e less three.
_SCIENTIFIC: Final = re.compile(r"(\d+\.\d*[eE][+-]?\d{1,3}|\d+e\d{1,3})(?![\d.a-zA-Z^_])", re.ASCII)
_UNENDING: Final = re.compile(
    r"(\d*)\.(\d{2,40})\s*(?:\.\.\.|\\(?:dots|ldots|cdots|dotsc|dotsb)(?![a-zA-Z]))", re.ASCII
)
_NOTHING_FOLLOWS: Final = re.compile(r"[ $})\]\\]*\Z|\s*\\(?:\\|end(?![a-zA-Z])|right(?![a-zA-Z]))")
"""Where a point ends a sentence or a row."""
_PERIOD: Final = re.compile(r"(\d*?)(\d{1,6}?)\2+", re.ASCII)
"""Decimals of which the last repeat before the dots: `0.3434...`."""


class NumberLexer:
    """The text, a position in it, and the tokens read so far."""

    def __init__(self, text: str, comma_groups: bool) -> None:
        self.text = text
        self.position = 0
        self.comma_groups = comma_groups
        self.brackets = 0
        self.spaced = False
        self.fonts = 0
        self.tokens: list[Token] = []

    def add(self, kind: Kind, text: str) -> None:
        self.tokens.append(Token(kind, text, self.spaced))
        self.spaced = False

    def mark_of_length(self, character: str) -> None:
        """Feet and inches, unless the mark closes a quotation."""
        if self.text.lstrip()[:1] in ("'", '"'):
            return
        double = character == '"' or self.text[self.position : self.position + 1] == "'"
        self.position += double and character == "'"
        self.add("word", "in" if double else "ft")
        self.add("word", MARK)

    def number(self) -> None:
        if not self._unended_or_scientific():
            self._plain_number()

    def _unended_or_scientific(self) -> bool:
        """Dots, a repeating decimal, or a mantissa with its exponent; whether there was one."""
        text, start = self.text, self.position
        if text.startswith("...", start):
            self.position += 3
            self.add("command", r"\dots")
            return True
        if repeating := _REPEATING.match(text, start):
            self.position = repeating.end()
            whole, _, rest = repeating.group().partition(".")
            self.add("digits", f"{whole or 0}.{rest.split(chr(92))[0]}({repeating.group(1)})")
            return True
        unending = _UNENDING.match(text, start)
        period = _PERIOD.fullmatch(unending.group(2)) if unending else None
        if unending and period:
            self.position = unending.end()
            self.add("digits", f"{unending.group(1) or 0}.{period.group(1)}({period.group(2)})")
            return True
        if scientific := _SCIENTIFIC.match(text, start):
            self._scientific(scientific.group().lower())
            return True
        return False

    def _plain_number(self) -> None:
        text, start = self.text, self.position
        match = _EXPLICIT_GROUPS.match(text, start)
        if match is None and self.comma_groups and self.brackets == 0:
            match = COMMA_GROUPS.match(text, start)
        if match is not None:
            digits = re.sub(r"[^\d.]", "", match.group())
        else:
            match = _NUMBER.match(text, start)
            if match is None:
                self._point()
                return
            digits = match.group()
        if len(digits) > limits.LITERAL_DIGITS:
            raise Unparsed("number with more digits than the bound")
        self.position = match.end()
        self.add("number", digits)

    def _point(self) -> None:
        """A point without a digit: the end of a sentence or of an abbreviation, or an error."""
        is_point = self.text[self.position] == "."
        self.position += 1
        if is_point and _NOTHING_FOLLOWS.match(self.text, self.position):
            return
        if is_point and self.tokens and self.tokens[-1].kind == "word":
            return
        raise Unparsed("stray point")

    def _scientific(self, text: str) -> None:
        """`6.02e23` as `{6.02*10^{23}}`."""
        self.position += len(text)
        mantissa, _, exponent = text.partition("e")
        self.add("symbol", "{")
        self.add("number", mantissa.rstrip("."))
        for symbol in ("*", "10", "^", "{", *(("-",) if exponent.startswith("-") else ())):
            self.add("number" if symbol == "10" else "symbol", symbol)
        self.add("number", exponent.lstrip("+-"))
        self.add("symbol", "}")
        self.add("symbol", "}")
