r"""Operators that bind a letter: `\sum_{k=1}^n`, `\prod`, `\int_a^b ... dx`, `\lim_{x \to a}`, `\frac{d}{dx}`."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from typing import Final, Literal

from areal_mesh.grading.reading.literals import LiteralParser
from areal_mesh.grading.reading.tokens import canonical
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Bound,
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Relation,
    Symbol,
    Unparsed,
    with_children,
)
from areal_mesh.grading.vocabulary import GREEK

_SIDES: Final[dict[str, Literal["lim+", "lim-"]]] = {"+": "lim+", "-": "lim-"}
_DIFFERENTIAL: Final = "d"


class BindingParser(LiteralParser):
    """Reads what binds a letter; where its bounds or its letter are not plain, it is known by its text alone."""

    @abstractmethod
    def signed_term(self) -> Node:
        """One term of a sum, with its sign."""

    def big_operator(self, name: str) -> Node:
        """A sum or product of the term that follows, an integral up to its differential, a limit."""
        start = self.position
        try:
            read = self._integral() if name == "int" else self._limit() if name == "lim" else self._series(name)
        except Unparsed:
            read = None
        if read is not None:
            return read
        self.position = start
        while self.peek() in ("_", "^"):
            self.advance()
            self._skip_argument()
        bounds = Symbol(canonical([token for token in self.tokens[start : self.position] if token.text not in "{}"]))
        return Call(name, (bounds, self.scalar()))

    def _skip_argument(self) -> None:
        depth = 0
        while not self.at_end():
            depth += (self.peek() == "{") - (self.peek() == "}")
            self.advance()
            if depth <= 0:
                return
        raise Unparsed("bounds without end")

    def _series(self, name: str) -> Node | None:
        low = high = None
        while self.peek() in ("_", "^"):
            mark = self.peek()
            self.advance()
            argument = self.argument(signed=True)
            low, high = (argument, high) if mark == "_" else (low, argument)
        match low:
            case Relation((Symbol(letter) | Constant(letter), first), ("=",)):
                last = high
            case Relation((first, Symbol(letter) | Constant(letter), last), ("<=", "<=")) if high is None:
                pass
            case _:
                return None
        if not isinstance(first, SCALARS) or not isinstance(last, SCALARS):
            return None
        return Bound("sum" if name == "sum" else "prod", letter, (first, last), _with_letter(self._body(), letter))

    def _body(self) -> Node:
        body = self.signed_term()
        if not isinstance(body, SCALARS):
            raise Unparsed("no scalar under an operator")
        return body

    def _limit(self) -> Node | None:
        self.expect("_")
        self.expect("{")
        if self.kind() != "letter" or self.peek(1) != r"\to":
            return None
        letter = self.peek()
        self.position += 2
        operator: Literal["lim", "lim+", "lim-"] = "lim"
        target = self._target()
        if self.peek() == "^":
            self.advance()
            braced = self.peek() == "{"
            self.position += braced
            operator = _SIDES.get(self.peek(), "lim")
            self.position += 1 + braced
        self.expect("}")
        if (operator == "lim" and self.peek(-2) in _SIDES) or not isinstance(target, SCALARS):
            return None
        return Bound(operator, letter, (target,), self._body())

    def _target(self) -> Node:
        """Where a limit goes, without the side that may stand above it."""
        if self.kind() == "number" and self.peek(1) == "^":
            return self.number()
        if self.kind() == "letter" and self.peek(1) == "^" and self.peek(2).strip("{") in ("", *_SIDES):
            self.advance()
            return Symbol(self.peek(-1))
        return self.scalar()

    def _integral(self) -> Node | None:
        bounds: dict[str, Node] = {}
        while self.peek() in ("_", "^"):
            mark = self.peek()
            self.advance()
            bounds[mark] = self.argument(signed=True)
        if set(bounds) != {"_", "^"} or not all(isinstance(bound, SCALARS) for bound in bounds.values()):
            return None
        end = self._differential()
        if end is None:
            body, letter = _without_differential(self._body())
        else:
            letter = self.tokens[end + 1].text.removeprefix("\\")
            body = self._between(end)
            self.position = end + 2
        if letter is None:
            return None
        return Bound("int", letter, (bounds["_"], bounds["^"]), body)

    def _between(self, end: int) -> Node:
        """The integrand before a place."""
        if end == self.position:
            return Number(Fraction(1))
        inner = type(self)(self.tokens[self.position : end])
        inner.decimal_logarithms = self.decimal_logarithms
        with self.nested():
            body = inner.scalar()
        inner.expect_end()
        if not isinstance(body, SCALARS):
            raise Unparsed("no scalar under an integral")
        return body

    def _differential(self) -> int | None:
        """Where the differential of this integral stands outside brackets; None where there is none."""
        depth, inner = 0, 0
        for at in range(self.position, len(self.tokens) - 1):
            text, after = self.tokens[at].text, self.tokens[at + 1]
            depth += (text in ("(", "[", "{", r"\{")) - (text in (")", "]", "}", r"\}"))
            if depth < 0:
                return None
            inner += text == r"\int"
            if depth == 0 and text == _DIFFERENTIAL and (after.kind == "letter" or after.text in GREEK):
                if not inner:
                    return at
                inner -= 1
        return None

    def derivative(self, quotient: Node) -> Node:
        r"""`\frac{d}{dx}` with what follows it as the derivative that it is; any other quotient as it is."""
        match quotient:
            case Quotient(Symbol("d"), Product((Symbol("d"), Symbol(letter)))):
                order = 1
            case Quotient(
                Power(Symbol("d"), Number(times)), Product((Symbol("d"), Power(Symbol(letter), Number(same))))
            ) if times == same and times in (2, 3, 4):
                order = int(times)
            case _:
                return quotient
        if not self.starts_factor():
            return quotient
        return Bound("derivative", letter, (Number(Fraction(order)),), self._body())


def _with_letter(node: Node, letter: str) -> Node:
    """A scalar in which `i` is the letter that a sum binds, and not the imaginary unit."""
    if isinstance(node, Constant):
        return Symbol(letter) if node.name == letter else node
    return with_children(node, lambda child: _with_letter(child, letter))


def _without_differential(node: Node) -> tuple[Node, str | None]:
    r"""The integrand of `\frac{dx}{1+x^2}` and its letter; None for the letter where there is none."""
    match node:
        case Quotient(Product((*factors, Symbol("d"), Symbol(letter))), bottom):
            top = Product(tuple(factors)) if factors else Number(Fraction(1))
            return Quotient(top, bottom), letter
        case _:
            return node, None
