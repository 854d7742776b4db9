"""Answers as trees: what stands around the mathematics.

`parse` reads lists, relations, ratios, set operations, measured quantities and words; the scalars inside come
from `expression`. Nothing is evaluated here.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

from areal_mesh.verifier import limits
from areal_mesh.verifier.expression import ExpressionParser
from areal_mesh.verifier.lexer import Token, singular, tokenize
from areal_mesh.verifier.nodes import (
    SCALARS,
    Bracketed,
    Call,
    FiniteSet,
    Listing,
    Measured,
    Node,
    Number,
    Product,
    Ratio,
    Relation,
    SetOperation,
    Symbol,
    Unparsed,
    Words,
)
from areal_mesh.verifier.rationals import rational
from areal_mesh.verifier.spelling import as_date
from areal_mesh.verifier.vocabulary import (
    ALL_REALS,
    HEDGES,
    MULTIPLIERS,
    NUMBER_WORDS,
    OPENING_WORDS,
    RELATIONS,
    UNIT_SYNONYMS,
)

_COMPOUND_UNITS = {"mi per h": "mph", "km per h": "kph"}
_SET_OPERATORS = {r"\cup": "union", r"\cap": "intersection", r"\setminus": "minus"}
_UNIT_SYMBOLS = frozenset({"-", "/", "."})
_HALVES: Final[dict[str, Literal["am", "pm"]]] = {"am": "am", "pm": "pm", "a m": "am", "p m": "pm"}


def parse(text: str) -> Node:
    """The tree of an answer, read with commas between digits as separators.

    Raises:
        Unparsed: if it is no answer within the bounds.
    """
    return parse_tokens(tokenize(text))


def parse_tokens(tokens: list[Token]) -> Node:
    """As `parse`, from tokens."""
    if not tokens:
        raise Unparsed("empty")
    words = as_date(tokens) or _as_words(tokens)
    if words is not None:
        return words
    reader = AnswerParser(_without_ends(tokens))
    node = reader.listing(())
    reader.expect_end()
    return node


def _without_ends(tokens: list[Token]) -> list[Token]:
    """Without opening words ("approximately 5") and closing punctuation."""
    start, end = 0, len(tokens)
    while start < end - 1 and (
        (tokens[start].kind == "word" and tokens[start].text.lower() in OPENING_WORDS)
        or tokens[start].text in (":", r"\approx")
    ):
        start += 1
    while end > start + 1 and tokens[end - 1].text in (",", ";", ":", "?", r"\\"):
        end -= 1
    return tokens[start:end]


def _as_words(tokens: list[Token]) -> Node | None:
    """Words, where the answer is nothing else: a name, a day, a date, a sentence."""
    kinds = [token.kind for token in tokens]
    if "word" not in kinds or kinds[0] == "number":
        return None
    if any(
        token.kind not in ("word", "number", "letter") and token.text not in ("-", ":", "(", ")") for token in tokens
    ):
        return None
    if all(kind != "number" for kind in kinds) or "letter" not in kinds:
        pieces: list[str] = []
        for token in tokens:
            if token.kind == "letter" and not token.spaced and pieces:
                pieces[-1] += token.text.lower()
            elif token.kind in ("word", "number", "letter"):
                pieces.append(token.text.lower())
        text = " ".join(pieces)
        if text in ALL_REALS:
            return Symbol("reals")
        if text in NUMBER_WORDS:
            return Number(Fraction(NUMBER_WORDS[text]))
        if "number" in kinds and all(piece in OPENING_WORDS or piece[0].isdigit() for piece in pieces):
            return None
        return Words(text)
    return None


class AnswerParser(ExpressionParser):
    """Adds to scalars everything that an answer may put around them."""

    def listing(self, closers: tuple[str, ...]) -> Node:
        """Items up to a closer or the end; one item is returned as it is."""
        items = [self.relation()]
        alternatives = False
        while not self.at_end() and self.peek() not in closers:
            separators = self._separators()
            alternatives = alternatives or bool({"or", r"\vee"} & separators)
            if not separators:
                raise Unparsed(f"unexpected {self.peek()!r}")
            if self.at_end() or self.peek() in closers:
                break
            items.append(self.relation())
            if len(items) > limits.LIST_ITEMS:
                raise Unparsed("list longer than the bound")
        return items[0] if len(items) == 1 else Listing(tuple(items), alternatives)

    def _separators(self) -> set[str]:
        found: set[str] = set()
        while not self.at_end() and (self.peek() in (",", ";") or self.kind() == "join" or self.peek() == r"\vee"):
            found.add(self.peek())
            self.advance()
        return found

    def relation(self) -> Node:
        """A chain of relations, or its only side."""
        with self.nested():
            sides = [self._set_expression()]
            operators: list[str] = []
            while not self.at_end() and self.peek() in RELATIONS:
                operators.append(RELATIONS[self.peek()])
                self.advance()
                sides.append(self._set_expression())
            return Relation(tuple(sides), tuple(operators)) if operators else sides[0]

    def _set_expression(self) -> Node:
        left = self._ratio()
        while not self.at_end() and self.peek() in _SET_OPERATORS:
            operator = _SET_OPERATORS[self.peek()]
            self.advance()
            left = SetOperation(operator, left, self._ratio())  # type: ignore[arg-type]
        return left

    def _ratio(self) -> Node:
        start = self.position
        items = [self._measured()]
        while self.peek() == ":" or self._ranges():
            self.advance()
            items.append(self._measured())
        if len(items) == 1:
            return items[0]
        half: Literal["", "am", "pm"] = ""
        last = items[-1]
        if isinstance(last, Measured) and last.unit in _HALVES:
            half = _HALVES[last.unit]
            items[-1] = last.value
        digits = [token.text for token in self.tokens[start : self.position] if token.kind == "number"]
        clock = len(digits) == len(items) and all(len(text) == 2 and text.isdigit() for text in digits[1:])
        return Ratio(tuple(items), clock, half)

    def _ranges(self) -> bool:
        """Whether `3 to 5` goes on here."""
        return self.kind() == "word" and self.peek().lower() == "to" and self.kind(1) == "number"

    def _measured(self) -> Node:
        if self.kind() == "word":
            return self._words()
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

    def _words(self) -> Node:
        texts = []
        while not self.at_end() and self.kind() in ("word", "number"):
            texts.append(self.peek().lower())
            self.advance()
        value = NUMBER_WORDS.get(" ".join(texts))
        if " ".join(texts) in ALL_REALS:
            return Symbol("reals")
        return Words(" ".join(texts)) if value is None else Number(Fraction(value))

    def _unit(self) -> str:
        """The unit at the position, in canonical words; empty where there is none."""
        if self.peek() == "(" and self.kind(1) == "word":
            self.advance()
            unit = self._unit()
            self.expect(")")
            return unit
        parts: list[str] = []
        while not self.at_end() and len(parts) < 12 and not self._ranges():
            token = self.tokens[self.position]
            word = token.text.lower()
            if token.kind == "word":
                if word in HEDGES or word in NUMBER_WORDS:
                    raise Unparsed(f"{word!r} is no unit")
                parts.append(UNIT_SYNONYMS.get(singular(word), singular(word)))
            elif parts and token.kind == "letter" and len(parts[-1]) == 1 and token.spaced:
                parts.append(word)
            elif parts and token.text == "^" and self._unit_power():
                parts.append("^" + self.tokens[self.position - 1].text)
                continue
            elif parts and token.text in _UNIT_SYMBOLS and self._word_follows():
                parts.append("per") if token.text == "/" else None
            else:
                break
            self.advance()
        return canonical_unit(parts)

    def _unit_power(self) -> bool:
        for offset, closing in ((1, 0), (2, 1)):
            index = self.position + offset
            if index + closing < len(self.tokens) and self.tokens[index].text in ("2", "3"):
                self.position = index + 1 + closing
                if closing:
                    self.tokens[index + 1] = self.tokens[index]
                return True
        return False

    def _word_follows(self) -> bool:
        return self.position + 1 < len(self.tokens) and self.tokens[self.position + 1].kind == "word"

    def bracket(self) -> Node:
        """What brackets enclose: a group, a tuple or interval, a set."""
        opening = self.peek()
        self.advance()
        closers = (r"\}",) if opening == r"\{" else (r"\rangle", ">") if opening == r"\langle" else (")", "]")
        if opening == r"\{" and self.peek() == r"\}":
            self.advance()
            return FiniteSet(())
        built = opening == r"\{" and self._set_builder()
        with self.nested():
            inner = self.listing(closers)
        if self.at_end() or self.peek() not in closers:
            raise Unparsed("bracket without end")
        closing = self.peek()
        self.advance()
        items = inner.items if isinstance(inner, Listing) else (inner,)
        if built:
            if not isinstance(inner, Relation):
                raise Unparsed("set without a condition")
            return inner
        if opening == r"\{":
            return FiniteSet(items)
        if opening == r"\langle":
            return Bracketed("<", items, ">")
        if len(items) == 1:
            if (opening, closing) not in (("(", ")"), ("[", "]")):
                raise Unparsed("brackets that do not match")
            return inner
        return Bracketed(opening, items, closing)  # type: ignore[arg-type]

    def _set_builder(self) -> bool:
        r"""Passes over the name of `\{x \mid x > 0\}` or `\{x \in \mathbb{R} : x > 0\}`: its condition follows."""
        over_reals = 2 if self.peek(1) == r"\in" and self.peek(2) == r"\Reals" else 0
        if self.kind() != "letter" or self.peek(1 + over_reals) not in ("|", ":"):
            return False
        self.position += 2 + over_reals
        return True


def canonical_unit(parts: list[str]) -> str:
    """`square cm`, `cm ^2` and `cm squared` are one unit."""
    text = " ".join(parts)
    for power, word in (("^2", "square"), ("^3", "cubic")):
        if power in parts:
            text = f"{word} " + " ".join(part for part in parts if part != power)
    text = text.strip()
    return _COMPOUND_UNITS.get(text, text)
