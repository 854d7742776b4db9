"""Quantities: a scalar with a currency before it, and a multiplier, a modulus or a unit after it."""

from __future__ import annotations

from fractions import Fraction

from areal_mesh.verifier.expression import ExpressionParser
from areal_mesh.verifier.lexer import singular
from areal_mesh.verifier.nodes import (
    SCALARS,
    Bracketed,
    Call,
    Listing,
    Measured,
    Node,
    Number,
    Product,
    Unparsed,
)
from areal_mesh.verifier.rationals import rational
from areal_mesh.verifier.vocabulary import HEDGES, MULTIPLIERS, NUMBER_WORDS, UNIT_SYNONYMS

_COMPOUND_UNITS = {"mi per h": "mph", "km per h": "kph"}
_UNIT_SYMBOLS = frozenset({"-", "/", "."})


class QuantityParser(ExpressionParser):
    """Reads one quantity, or the words that stand in its place."""

    def measured(self) -> Node:
        if self.kind() == "word":
            return self.words()
        currency = self._currency()
        value = self._remainder(self._multiplied(self.scalar()))
        unit = self._modulus() or self._unit()
        if self._currency() and not unit:
            currency = True
        if not isinstance(value, (*SCALARS, Bracketed, Listing)) and (unit or currency):
            raise Unparsed("unit after what has none")
        if unit == "degree" and isinstance(value, SCALARS):
            return Call("degree", (value,))
        if unit == "percent" and isinstance(value, SCALARS):
            return Call("percent", (value,))
        if currency and (not unit or unit == "dollar"):
            return Measured(value, "dollar")
        return Measured(value, unit) if unit else value

    def _multiplied(self, value: Node) -> Node:
        """`1.5 million` as the product that it is."""
        if self.kind() == "word" and self.peek().lower() in MULTIPLIERS and isinstance(value, SCALARS):
            value = Product((value, Number(Fraction(MULTIPLIERS[self.peek().lower()]))))
            self.advance()
        return value

    def _remainder(self, value: Node) -> Node:
        r"""`17 \bmod 5` as the remainder that it is; a residue, and what a congruence says, keep their modulus."""
        if self.peek() != r"\bmod" or any(token.text == r"\equiv" for token in self.tokens):
            return value
        start = self.position
        self.advance()
        modulus = rational(self.argument(signed=True))
        number = rational(value) if isinstance(value, SCALARS) else None
        if (
            modulus is not None
            and number is not None
            and modulus > 0
            and modulus.denominator == number.denominator == 1
        ):
            remainder = number % modulus
            if remainder != number:
                return Number(remainder)
        self.position = start
        return value

    def _modulus(self) -> str:
        r"""`\pmod{7}` after a residue, as if it were its unit."""
        if self.peek() not in (r"\pmod", r"\mod", r"\bmod"):
            return ""
        self.advance()
        modulus = self.argument()
        return f"mod {modulus.value}" if isinstance(modulus, Number) else "mod"

    def _currency(self) -> bool:
        if not self.at_end() and self.peek() == r"\$":
            self.advance()
            return True
        return False

    def words(self) -> Node:
        raise NotImplementedError

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
            if token.kind == "word":
                if word in HEDGES or word in NUMBER_WORDS:
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
                parts.append("per") if token.text == "/" else None
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
    """`square cm`, `cm ^2` and `cm squared` are one unit."""
    text = " ".join(parts)
    for power, word in (("^2", "square"), ("^3", "cubic")):
        if power in parts:
            text = f"{word} " + " ".join(part for part in parts if part != power)
    text = text.strip()
    return _COMPOUND_UNITS.get(text, text)
