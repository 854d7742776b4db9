"""Units after a number: their words in canonical form, `km/h` as `km per h`, `m s^{-2}` as `m per square s`."""

from __future__ import annotations

from areal_mesh.grading.reading.expression import ExpressionParser
from areal_mesh.grading.reading.number_words import MULTIPLIERS
from areal_mesh.grading.trees.nodes import Unparsed
from areal_mesh.grading.unit_table import unit_word
from areal_mesh.grading.vocabulary import (
    CONDITION_WORDS,
    FUNCTION_WORDS,
    HEDGES,
    NUMBER_WORDS,
    UNIT_WORDS_OF_ONE_LETTER,
)

_COMPOUND_UNITS = {
    "a m": "am", "p m": "pm", "per cent": "percent", "degree celsius": "celsius", "degree fahrenheit": "fahrenheit",
    "degree C": "celsius", "degree F": "fahrenheit",
}  # fmt: skip
_POWERS = {"^2": "square", "^3": "cubic", "^4": "quartic"}
_NEVER_UNITS = HEDGES | FUNCTION_WORDS
_UNIT_SYMBOLS = frozenset({"-", "/", ".", "*"})
PER = frozenset({"per", "a", "an", "each", "every"})


class UnitParser(ExpressionParser):
    """Reads units."""

    def unit(self) -> str:
        """The unit at the position, in canonical words; empty where there is none."""
        if self.peek() == "(" and self.kind(1) == "word":
            self.advance()
            unit = self.unit()
            self.expect(")")
            return unit
        parts: list[str] = []
        opened = 0
        while not self.at_end() and len(parts) < 12 and not self.ranges():
            token = self.tokens[self.position]
            word = token.text.lower()
            if token.kind == "word" and word in CONDITION_WORDS:
                break
            if parts and word in PER and self.kind(1) == "word":
                parts.append("per")
            elif token.kind == "word":
                # "12 possible values"
                parts += [] if word == "possible" and self.kind(1) == "word" else [_unit_word(token.text)]
            elif parts and token.kind == "letter" and (parts[-1] == "per" or (len(parts[-1]) == 1 and token.spaced)):
                parts.append(unit_word(token.text))
            elif parts and token.text == "^":
                power = self._unit_power()
                if power is None:
                    break
                # `m s^{-2}`: a negative power divides by what it stands on.
                parts[-1:] = ["per", parts[-1]] if power < 0 and "per" not in parts[-2:] else [parts[-1]]
                parts += [f"^{abs(power)}"] if abs(power) > 1 else []
                continue
            elif parts and token.text in _UNIT_SYMBOLS and self._unit_follows(token.text):
                if token.text == "/":
                    parts.append("per")
            elif parts and token.text == "(" and self.peek(-1) in _UNIT_SYMBOLS and self.kind(1) == "word":
                opened += 1
            elif opened and token.text == ")":
                opened -= 1
            else:
                break
            self.advance()
        return canonical_unit(parts)

    def _unit_power(self) -> int | None:
        """Passes over the whole power at the position; None where there is none that a unit has."""
        start = self.position
        self.advance()
        braced = self.peek() == "{"
        self.position += braced
        negative = self.peek() == "-"
        self.position += negative
        power = self.peek()
        self.advance()
        if power in ("1", "2", "3", "4") and (not braced or self.peek() == "}"):
            self.position += braced
            return -int(power) if negative else int(power)
        self.position = start
        return None

    def _unit_follows(self, sign: str) -> bool:
        if self.peek(1) == "(":
            return self.kind(2) == "word"
        return self.kind(1) == "word" or (sign == "/" and self.kind(1) == "letter")

    def ranges(self) -> bool:
        """Whether `3 to 5` goes on here."""
        return self.kind() == "word" and self.peek().lower() == "to" and self.kind(1) == "number"


def _unit_word(text: str) -> str:
    """The canonical word of a unit.

    Raises:
        Unparsed: for a word that no unit has.
    """
    word = text.lower()
    if word in _NEVER_UNITS or word.removesuffix("s") in HEDGES or word in NUMBER_WORDS or word in MULTIPLIERS:
        raise Unparsed(f"{word!r} is no unit")
    if len(word) == 1 and text.isascii() and text not in UNIT_WORDS_OF_ONE_LETTER:
        raise Unparsed(f"{word!r} is no unit")
    return unit_word(text)


def canonical_unit(parts: list[str]) -> str:
    """`square cm`, `cm ^2` and `cm squared` are one unit; a power belongs to the word before it."""
    words: list[str] = []
    for part in parts:
        if part in _POWERS:
            words.insert(max(0, len(words) - 1), _POWERS[part])
        else:
            words.append(part)
    text = " ".join(words)
    return _COMPOUND_UNITS.get(text, text)
