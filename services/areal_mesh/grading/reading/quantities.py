"""Quantities: a scalar with a currency before it, and a multiplier, a modulus or a unit after it."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from areal_mesh.grading.reading.number_words import MULTIPLIERS
from areal_mesh.grading.reading.units import PER, UnitParser
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
from areal_mesh.grading.unit_table import SMALLER_UNITS
from areal_mesh.grading.vocabulary import (
    CURRENCIES,
    CURRENCY_CODES,
)

_LARGEST_MODULUS = 10**30
_MODULI = frozenset({r"\pmod", r"\mod", r"\bmod", "mod"})
_NOTHING_AFTER = frozenset({"", ",", "=", ")", "]", "}", r"\}", "|", "<", ">", r"\le", r"\ge", r"\in"})
"""What ends most quantities, with nothing between that belongs to them."""
_TEMPERATURES = {"C": "celsius", "c": "celsius", "F": "fahrenheit", "f": "fahrenheit"}


class QuantityParser(UnitParser):
    """Reads one quantity, or the words that stand in its place."""

    def measured(self) -> Node:
        if self.kind() == "word" and not self._is_currency_code():
            return self.words()
        debt = self.peek() == "-" and self.peek(1) in CURRENCIES
        self.position += debt
        currency = self._currency()
        if self.kind() == "word":
            return self.words()
        value = self.scalar()
        if not (debt or currency) and self.peek() in _NOTHING_AFTER:
            return value
        value, modulus = self._modulus(self._multiplied(value))
        value = negated(value) if debt and isinstance(value, SCALARS) else value
        based = self._in_base(value)
        if based is not None:
            return based
        unit = modulus or self._rate(currency) or self.unit()
        if unit in SMALLER_UNITS and isinstance(value, SCALARS):
            value, unit = self._with_smaller_units(value, unit)
        currency = self._currency() or currency
        if not isinstance(value, (*SCALARS, Bracketed, Listing)) and (unit or currency):
            raise Unparsed("unit after what has none")
        if unit and isinstance(value, Call) and value.function == "degree":
            value, unit = value.arguments[0], _TEMPERATURES.get(unit, unit)
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
        if not currency or self.peek().lower() not in PER or self.kind(1) != "word":
            return ""
        self.advance()
        return f"{currency} per {self.unit()}"

    def _with_smaller_units(self, value: Node, unit: str) -> tuple[Node, str]:
        """(30, "min") added to (2, "h") as (150, "min"), where it goes on so."""
        while unit in SMALLER_UNITS:
            start = self.position
            smaller, ratio = SMALLER_UNITS[unit]
            self.position += self.peek() == "and"
            rest = self.number() if self.kind() == "number" else None
            if rest is None or rest.value >= ratio or self.unit() != smaller:
                self.position = start
                break
            negative = (rational(value) or 0) < 0
            value = Sum((Product((Number(Fraction(ratio)), value)), negated(rest) if negative else rest))
            unit = smaller
        return value, unit
