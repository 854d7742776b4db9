"""Quantities: a scalar with a currency before it, and a multiplier, a modulus or a unit after it."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from areal_mesh.grading.reading.expression import ExpressionParser
from areal_mesh.grading.reading.number_words import MULTIPLIERS
from areal_mesh.grading.reading.words import singular
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    BasedNumber,
    Bracketed,
    Call,
    Listing,
    Measured,
    Node,
    Number,
    Product,
    Sum,
    Unparsed,
    negated,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.vocabulary import (
    CONDITION_WORDS,
    CURRENCIES,
    CURRENCY_CODES,
    FUNCTION_WORDS,
    HEDGES,
    NUMBER_WORDS,
    UNIT_SYNONYMS,
    UNIT_WORDS_OF_ONE_LETTER,
)

_COMPOUND_UNITS = {"a m": "am", "p m": "pm", "per cent": "percent", "mi per h": "mph", "km per h": "kph"}
_NEXT_SMALLER = {"h": ("min", 60), "min": ("s", 60), "ft": ("in", 12), "lb": ("oz", 16)}
"""Units that are followed by another in one quantity, and how many of that one they are."""
_LARGEST_MODULUS = 10**30
_MODULI = frozenset({r"\pmod", r"\mod", r"\bmod", "mod"})
_POWERS = {"^2": "square", "^3": "cubic"}
_NEVER_UNITS = HEDGES | FUNCTION_WORDS
_PER = frozenset({"per", "a", "an", "each", "every"})
_UNIT_SYMBOLS = frozenset({"-", "/", "."})


class QuantityParser(ExpressionParser):
    """Reads one quantity, or the words that stand in its place."""

    def measured(self) -> Node:
        if self.kind() == "word" and not self._is_currency_code():
            return self.words()
        currency = self._currency()
        if self.kind() == "word":
            return self.words()
        value, modulus = self._modulus(self._multiplied(self.scalar()))
        based = self._in_base(value)
        if based is not None:
            return based
        unit = modulus or self._rate(currency) or self._unit()
        if unit in _NEXT_SMALLER and isinstance(value, SCALARS):
            value, unit = self._with_smaller_units(value, unit)
        currency = self._currency() or currency
        if not isinstance(value, (*SCALARS, Bracketed, Listing)) and (unit or currency):
            raise Unparsed("unit after what has none")
        if unit and isinstance(value, Call) and value.function == "degree":
            value, unit = value.arguments[0], f"degree {unit}"  # of temperature
        if unit == "degree" and isinstance(value, SCALARS):
            return Call("degree", (value,))
        if unit == "percent" and isinstance(value, SCALARS):
            return Call("percent", (value,))
        if currency and unit and unit != currency and not unit.startswith(f"{currency} per "):
            raise Unparsed(f"{currency} and {unit}")
        return Measured(value, unit or currency) if unit or currency else value

    def _in_base(self, value: Node) -> Node | None:
        """`101 base 2`, `101 (base two)`, and `101_2 (base 2)` as what it is; None where no base follows."""
        ahead = 1 if self.peek() == "(" else 0
        ahead += self.peek(ahead).lower() == "in"
        if self.peek(ahead).lower() != "base" or not isinstance(value, Number | BasedNumber):
            return None
        if isinstance(value, Number) and value.decimals is not None:
            return None
        base = self.peek(ahead + 1)
        self.position += ahead + 2
        if self.tokens[self.position - 2 - ahead].text == "(":
            self.expect(")")
        if isinstance(value, Number):
            return self.in_base(str(value.value), base)
        if self.in_base(value.digits, base) != value:
            raise Unparsed("two bases")
        return value

    def _multiplied(self, value: Node) -> Node:
        """`1.5 million` as the product that it is."""
        if self.kind() == "word" and self.peek().lower() in MULTIPLIERS and isinstance(value, SCALARS):
            value = Product((value, Number(MULTIPLIERS[self.peek().lower()])))
            self.advance()
        return value

    def _modulus(self, value: Node) -> tuple[Node, str]:
        r"""(value, unit) with `17 \bmod 5` as the remainder that it is; any other modulus is like a unit.

        A residue, and what a congruence says, keep their modulus.
        """
        bracketed = self.peek() == "(" and self.peek(1).lower() in _MODULI
        sign = self.peek(bracketed).lower()
        if sign not in _MODULI:
            return value, ""
        congruent = bracketed or sign == r"\pmod" or any(token.text == r"\equiv" for token in self.tokens)
        self.position += 1 + bracketed
        modulus = rational(self.argument(signed=True))
        if bracketed:
            self.expect(")")
        number = rational(value) if isinstance(value, SCALARS) else None
        if modulus is None or modulus.denominator != 1 or not 1 < modulus < _LARGEST_MODULUS:
            raise Unparsed("a modulus that is no integer above one, or larger than the bound")
        if not congruent and number is not None and number.denominator == 1 and number % modulus != number:
            return Number(number % modulus), ""
        return value, f"mod {modulus}"

    def _currency(self) -> str:
        name = CURRENCIES.get(self.peek(), "")
        if self._is_currency_code():
            name = CURRENCY_CODES[self.peek().lower()]
        self.position += bool(name)
        return name

    def _is_currency_code(self) -> bool:
        """Whether `USD 150` stands here."""
        return self.kind() == "word" and self.peek().lower() in CURRENCY_CODES and self.kind(1) == "number"

    @abstractmethod
    def words(self) -> Node:
        """Words that stand in a quantity's place."""

    def _rate(self, currency: str) -> str:
        """`dollar per day` of `\\$18 a day`; empty where the amount is no rate."""
        if not currency or self.peek().lower() not in _PER or self.kind(1) != "word":
            return ""
        self.advance()
        return f"{currency} per {self._unit()}"

    def _unit(self) -> str:
        """The unit at the position, in canonical words; empty where there is none."""
        if self.peek() == "(" and self.kind(1) == "word":
            self.advance()
            unit = self._unit()
            self.expect(")")
            return unit
        parts: list[str] = []
        while not self.at_end() and len(parts) < 12 and not self.ranges():
            token = self.tokens[self.position]
            word = token.text.lower()
            if token.kind == "word" and word in CONDITION_WORDS:
                break
            if parts and word in _PER and self.kind(1) == "word":
                parts.append("per")
            elif token.kind == "word":
                if word in _NEVER_UNITS or singular(word) in HEDGES or word in NUMBER_WORDS or word in MULTIPLIERS:
                    raise Unparsed(f"{word!r} is no unit")
                if len(word) == 1 and token.text not in UNIT_WORDS_OF_ONE_LETTER:
                    raise Unparsed(f"{word!r} is no unit")
                parts.append(UNIT_SYNONYMS.get(singular(word), singular(word)))
            elif parts and token.kind == "letter" and (parts[-1] == "per" or (len(parts[-1]) == 1 and token.spaced)):
                parts.append(word)
            elif parts and token.text == "^":
                power = self._unit_power()
                if power is None:
                    break
                # `m s^{-2}`: a negative power divides by what it stands on.
                parts[-1:] = ["per", parts[-1]] if power < 0 else [parts[-1]]
                parts += [f"^{abs(power)}"] if abs(power) > 1 else []
                continue
            elif parts and token.text in _UNIT_SYMBOLS and self._unit_follows(token.text):
                if token.text == "/":
                    parts.append("per")
            else:
                break
            self.advance()
        return canonical_unit(parts)

    def _with_smaller_units(self, value: Node, unit: str) -> tuple[Node, str]:
        """(30, "min") added to (2, "h") as (150, "min"), where it goes on so."""
        while unit in _NEXT_SMALLER:
            start = self.position
            smaller, ratio = _NEXT_SMALLER[unit]
            self.position += self.peek() == "and"
            rest = self.number() if self.kind() == "number" else None
            if rest is None or rest.value >= ratio or self._unit() != smaller:
                self.position = start
                break
            negative = (rational(value) or 0) < 0
            value = Sum((Product((Number(Fraction(ratio)), value)), negated(rest) if negative else rest))
            unit = smaller
        return value, unit

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
        if power in ("1", "2", "3") and (not braced or self.peek() == "}"):
            self.position += braced
            return -int(power) if negative else int(power)
        self.position = start
        return None

    def _unit_follows(self, sign: str) -> bool:
        return self.kind(1) == "word" or (sign == "/" and self.kind(1) == "letter")

    def ranges(self) -> bool:
        """Whether `3 to 5` goes on here."""
        return self.kind() == "word" and self.peek().lower() == "to" and self.kind(1) == "number"


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
