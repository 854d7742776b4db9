"""Answers as trees: what stands around the mathematics.

`parse` reads lists, relations, ratios, set operations, measured quantities and words; the scalars inside come
from `expression`. Nothing is evaluated here, but remainders and small determinants.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

from areal_mesh.grading import limits
from areal_mesh.grading.reading.conditions import with_plain_conditions
from areal_mesh.grading.reading.dressing import as_words, with_or, without_ends
from areal_mesh.grading.reading.lexer import tokenize
from areal_mesh.grading.reading.lookalikes import in_latex
from areal_mesh.grading.reading.names import with_names
from areal_mesh.grading.reading.quantities import QuantityParser
from areal_mesh.grading.reading.spelling import as_date, said_in_words
from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Bracketed,
    FiniteSet,
    Listing,
    Measured,
    Node,
    Number,
    Product,
    Ratio,
    Relation,
    SetOperation,
    Sum,
    Symbol,
    Unparsed,
    Words,
)
from areal_mesh.grading.unit_table import unit_word
from areal_mesh.grading.vocabulary import (
    ALL_REALS,
    RELATIONS,
)

_SET_OPERATORS = {r"\cup": "union", r"\cap": "intersection", r"\setminus": "minus"}
_SEPARATORS = frozenset({",", ";", r"\vee", r"\wedge", r"\\"})
_GROUP_SEPARATORS = frozenset({";", "or", r"\vee"})
_SPOKEN: Final = frozenset({"word", "join"})
_HALVES: Final[dict[str, Literal["am", "pm"]]] = {"am": "am", "pm": "pm"}


def parse(text: str) -> Node:
    """The tree of an answer, read with commas between digits as separators.

    Raises:
        Unparsed: if it is no answer within the bounds.
    """
    return parse_tokens(tokenize(text if text.isascii() else in_latex(text)))


def parse_tokens(tokens: list[Token], *, decimal_logarithms: bool = False) -> Node:
    """As `parse`, from tokens; a logarithm without a base is natural, unless it is to have the base ten."""
    if not tokens:
        raise Unparsed("empty")
    words: Node | None = as_date(tokens)
    if words is None and any(token.kind in _SPOKEN for token in tokens):
        tokens = _with_exclusions(tokens)
        words = _all_reals_but(tokens) or as_words(tokens)
    if words is not None:
        return words
    reader = AnswerParser(with_or(with_names(with_plain_conditions(without_ends(tokens)))))
    reader.decimal_logarithms = decimal_logarithms
    node = reader.listing(())
    reader.expect_end()
    return node


def _with_exclusions(tokens: list[Token]) -> list[Token]:
    """`0 < x < 2 except x = 1` with what it excepts as `x \\ne 1`; others as they are."""
    at = next((at for at, token in enumerate(tokens) if token.text.lower() == "except"), 0)
    if not 0 < at < len(tokens) - 3 or tokens[at + 2].text != "=" or tokens[at + 1].kind != "letter":
        return tokens
    return [*tokens[:at], Token("symbol", ","), tokens[at + 1], Token("command", r"\ne"), *tokens[at + 3 :]]


def _all_reals_but(tokens: list[Token]) -> Node | None:
    """`all real numbers except 5`, as the reals without what follows; None for any other answer."""
    texts = [token.text.lower() for token in tokens]
    if "except" not in texts:
        return None
    at = texts.index("except")
    said = " ".join(text for text in texts[:at] if len(text) > 1)
    if (said not in ALL_REALS and said != "all real") or at + 1 == len(texts):
        return None
    listed = AnswerParser(tokens[at + 1 :])
    node = listed.listing(())
    listed.expect_end()
    items = node.items if isinstance(node, Listing | FiniteSet) else (node,)
    if any(isinstance(item, Relation) and item.operators != ("=",) for item in items):
        return None
    values = tuple(item.sides[-1] if isinstance(item, Relation) else item for item in items)
    return SetOperation("minus", Symbol("reals"), FiniteSet(values))


class AnswerParser(QuantityParser):
    """Adds to scalars everything that an answer may put around them."""

    def listing(self, closers: tuple[str, ...]) -> Node:
        """Items up to a closer or the end; one item is returned as it is."""
        items = [self.relation()]
        groups = [1]
        alternatives = together = False
        while not self.at_end() and self.peek() not in closers:
            separators = self._separators()
            alternatives = alternatives or bool({"or", r"\vee"} & separators)
            together = together or bool({"and", r"\wedge"} & separators)
            if not separators:
                raise Unparsed(f"unexpected {self.peek()!r}")
            if self.at_end() or self.peek() in closers:
                break
            items.append(self.relation())
            if separators & _GROUP_SEPARATORS:
                groups.append(0)
            groups[-1] += 1
            if len(items) > limits.LIST_ITEMS:
                raise Unparsed("list longer than the bound")
        if len(items) == 1:
            return items[0]
        if all(isinstance(item, Listing) for item in items):  # systems side by side
            systems = [item.items for item in items if isinstance(item, Listing)]
            points = _solutions([one for system in systems for one in system], [len(system) for system in systems])
            return Listing(points or tuple(items), alternatives, together)
        return Listing(_solutions(items, groups) or tuple(items), alternatives, together)

    def _separators(self) -> set[str]:
        found: set[str] = set()
        while not self.at_end() and (self.peek() in _SEPARATORS or self.kind() == "join"):
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
        left = _without_points(self._ratio())
        operators = 0
        while not self.at_end() and self.peek() in _SET_OPERATORS:
            operator = _SET_OPERATORS[self.peek()]
            self.advance()
            operators += 1
            if operators > limits.CHAIN:
                raise Unparsed("more set operations than the bound")
            left = SetOperation(operator, left, self._ratio())  # type: ignore[arg-type]
        return left

    def _ratio(self) -> Node:
        start = self.position
        items = [self.measured()]
        while self.peek() == ":" or self.ranges():
            self.advance()
            items.append(self.measured())
        if len(items) == 1:
            return _full_hour(items[0])
        if len(items) == 2 and isinstance(items[0], Words) and isinstance(items[1], SCALARS):
            return Measured(items[1], " ".join(map(unit_word, items[0].text.split())))  # "hens: 12"
        half: Literal["", "am", "pm"] = ""
        last = items[-1]
        if isinstance(last, Measured) and last.unit in _HALVES:
            half = _HALVES[last.unit]
            items[-1] = last.value
        digits = [token.text for token in self.tokens[start : self.position] if token.kind == "number"]
        clock = len(digits) == len(items) and all(
            len(text) == 2 and text.isdigit() and int(text) < 60 for text in digits[1:]
        )
        return Ratio(tuple(items), clock, half)

    def words(self) -> Node:
        texts = []
        while not self.at_end() and self.kind() in ("word", "number"):
            texts.append(self.peek().lower())
            self.advance()
        return said_in_words(" ".join(texts).split())

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
            if not all(isinstance(item, Relation) for item in items):
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


def _full_hour(node: Node) -> Node:
    """`3 p.m.` as the time 3:00."""
    if (
        isinstance(node, Measured)
        and node.unit in _HALVES
        and isinstance(node.value, Number)
        and node.value.value <= 12
    ):
        return Ratio((node.value, Number(Fraction(0))), True, _HALVES[node.unit])
    return node


def _without_points(node: Node) -> Node:
    r"""`\mathbb{R} - \{5\}` as the difference of sets that it is."""
    match node:
        case Sum((Symbol("reals"), Product((Number(), FiniteSet(items))))):
            return SetOperation("minus", Symbol("reals"), FiniteSet(items))
        case _:
            return node


def _without_index(name: Node) -> Node:
    """The unknown whose value in one of several solutions an index marks: x of `x_1`."""
    return Symbol(name.name[0]) if isinstance(name, Symbol) and name.name[1:2] == "_" else name


def _solutions(items: list[Node], groups: list[int]) -> tuple[Node, ...] | None:
    """`x = 1, y = 2; x = 3, y = 4` as one point for each group; None unless each
    has values for the same names."""
    size = groups[0]
    if size < 2 or len(groups) < 2 or any(count != size for count in groups):
        return None
    if not all(isinstance(item, Relation) and item.operators == ("=",) for item in items):
        return None
    names = [_without_index(item.sides[0]) for item in items if isinstance(item, Relation)]
    if len(set(names[:size])) != size or names != names[:size] * len(groups):
        return None
    return tuple(Bracketed("(", tuple(items[at : at + size]), ")") for at in range(0, len(items), size))
