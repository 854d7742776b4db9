"""Scalars by recursive descent: sums, products, powers, functions, matrices, with implicit multiplication."""

from __future__ import annotations

from typing import TypeGuard

from areal_mesh.grading import limits
from areal_mesh.grading.reading.commands import CommandParser
from areal_mesh.grading.trees.nodes import (
    Call,
    FiniteSet,
    Node,
    Number,
    PlusMinus,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    Unparsed,
    negated,
)
from areal_mesh.grading.vocabulary import BIG_OPERATORS, DECORATIONS, FUNCTIONS, GREEK, NUMBER_SETS

_SIGNS = 2
"""Signs that a term may have: minus a negative."""


class ExpressionParser(CommandParser):
    """Reads one scalar.

    Subclasses say what brackets enclose, because an answer's brackets hold more than scalars.
    """

    def scalar(self) -> Node:
        """A sum of terms."""
        with self.nested():
            terms = [self.signed_term()]
            while self.peek() in ("+", "-", r"\pm", r"\mp"):
                terms.append(self.signed_term())
            total = terms[0] if len(terms) == 1 else Sum(tuple(terms))
            # TeX's infix forms take all that their group holds before them and after.
            if self.peek() in (r"\over", r"\choose"):
                over = self.peek() == r"\over"
                self.advance()
                lower = self.scalar()
                return Quotient(total, lower) if over else Call("binomial", (total, lower))
            return total

    def signed_term(self) -> Node:
        negative = False
        sign = ""
        start = self.position
        while self.peek() in ("+", "-", r"\pm", r"\mp"):
            if self.position - start >= _SIGNS:
                raise Unparsed("more signs than a term has")
            if self.peek() == "-":
                negative = not negative
            elif self.peek() != "+":
                if sign:
                    raise Unparsed("two signs of either kind")
                sign = self.peek()
            self.advance()
        term = self._term()
        if negative:
            term = negated(term)
        return PlusMinus(term, sign == r"\mp") if sign else term

    def _term(self) -> Node:
        """Factors with `*`, `/` or nothing between them."""
        factors = [self.factor()]
        divisions = 0
        while not self.at_end():
            text = self.peek()
            if text == "*":
                self.advance()
                factors.append(self._unary_factor())
            elif text == "/":
                self.advance()
                divisions += 1
                if divisions > limits.CHAIN:
                    raise Unparsed("more divisions than a term has")
                factors[-1:] = [Quotient(factors[-1], self._unary_factor())]
            elif text == "(" and (self.kind(1) == "word" or self.peek(1) in (r"\bmod", r"\mod")):
                break  # `120 (miles)`: a unit; `4 (\bmod 7)`: a modulus
            elif self.starts_factor():
                if self.peek(-1) == "]" and text == "[":
                    raise Unparsed("square brackets side by side, as an index has them")
                bracketed = self.peek(-1) in (")", "]") or self.peek() in ("(", "[")
                if self.kind() in ("number", "digits") and isinstance(factors[-1], Number) and not bracketed:
                    mixed = self._mixed_number(factors[-1])
                    factors[-1:] = [mixed]
                else:
                    whole = factors[-1]
                    factor = self.factor()
                    if len(factors) == 1 and not bracketed and _is_mixed(whole, factor):
                        factors = [Sum((whole, factor))]
                    elif len(factors) == 1 and not bracketed and _is_marked_mixed(factor, whole):
                        # `7 1/2 %`: the sign stands after the whole number.
                        factors = [Call(factor.function, (Sum((whole, *factor.arguments)),))]
                    else:
                        factors.append(factor)
            else:
                break
        return factors[0] if len(factors) == 1 else Product(tuple(map(_in_braces, factors)))

    def _mixed_number(self, whole: Number) -> Node:
        """`1 1/2`: two numbers side by side are a mixed number or nothing."""
        if self.peek(1) == "/" and self.kind(2) == "number" and whole.decimals is None:
            top = self.number()
            self.advance()
            part = Quotient(top, self.number())
            if _is_mixed(whole, part):
                return Sum((whole, part))
        raise Unparsed("two numbers side by side")

    def _unary_factor(self) -> Node:
        if self.peek() == "-":
            self.advance()
            return negated(self.factor())
        if self.peek() == "+":
            self.advance()
        return self.factor()

    def starts_factor(self) -> bool:
        text, kind = self.peek(), self.kind()
        if kind in ("number", "letter", "digits"):
            return True
        if kind == "command":
            name = text[1:]
            return (
                text in (r"\frac", r"\sqrt", r"\pi", r"\infty", r"\{", r"\binom", r"\begin", r"\lfloor", r"\lceil")
                or text in (r"\langle", r"\angle", r"\triangle", r"\emptyset", r"\mathbb", r"\circ")
                or text in NUMBER_SETS.values()
                or name in FUNCTIONS
                or text in GREEK
                or text in DECORATIONS
                or text in BIG_OPERATORS
            )
        return text in ("(", "[", "{") or (text == "|" and self.bars == 0)

    def factor(self) -> Node:
        """A primary with its powers, factorials, degrees and percent signs."""
        node = self.primary()
        marks = 0
        while not self.at_end():
            text = self.peek()
            marks += 1
            if marks > limits.CHAIN:
                raise Unparsed("more signs than a factor has")
            if text == "^":
                node = self._power(node)
            elif text == "!":
                self.advance()
                double = self.peek() == "!"
                self.position += double
                if self.peek() == "!":
                    raise Unparsed("more factorial signs than two")
                node = Call("double factorial" if double else "factorial", (node,))
            elif text in ("%", r"\circ"):
                if isinstance(node, Call) and node.function in ("percent", "degree"):
                    raise Unparsed("a percent or degree sign after another")
                self.advance()
                node = Call("percent" if text == "%" else "degree", (node,))
            elif text == "_":
                node = self._subscript(node)
            else:
                break
        return node

    def _power(self, base: Node) -> Node:
        self.advance()
        braced = self.peek() == "{" and self.peek(2) == "}"
        mark = self.peek(1) if braced else self.peek()
        if mark in (r"\circ", "*", "'", r"\prime"):
            self.position += 3 if braced else 1
            return Call("degree", (base,)) if mark == r"\circ" else Call("prime", (base,))
        exponent = self.argument(signed=True)
        if self.peek() == "^":
            raise Unparsed("power of a power without brackets")
        return Power(base, exponent)

    def _subscript(self, node: Node) -> Node:
        if isinstance(node, Number) and node.decimals is None and node.value.denominator == 1:
            based = self.based(str(abs(node.value.numerator)))
            return negated(based) if node.value < 0 else based
        if isinstance(node, Symbol) and "_" not in node.name:
            return Symbol(f"{node.name}_{self.subscript_text()}")
        raise Unparsed("subscript after what has none")


def _in_braces(factor: Node) -> Node:
    """`2\\{x + 1\\}` with its braces as the brackets that they are beside a factor."""
    match factor:
        case FiniteSet((Sum() as inner,)):  # of one letter they would be its fractional part
            return inner
        case _:
            return factor


def _is_marked_mixed(part: Node, whole: Node) -> TypeGuard[Call]:
    return isinstance(part, Call) and part.function in ("percent", "degree") and _is_mixed(whole, part.arguments[0])


def _is_mixed(whole: Node, part: Node) -> bool:
    """Whether an integer beside a proper fraction of numbers is a mixed number."""
    return (
        isinstance(whole, Number)
        and whole.decimals is None
        and whole.value.denominator == 1
        and isinstance(part, Quotient)
        and isinstance(part.numerator, Number)
        and isinstance(part.denominator, Number)
        and 0 < part.numerator.value < part.denominator.value
    )
