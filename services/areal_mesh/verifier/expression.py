"""Scalars by recursive descent: sums, products, powers, functions, matrices, with implicit multiplication."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from areal_mesh.verifier import limits
from areal_mesh.verifier.lexer import Token
from areal_mesh.verifier.nodes import (
    BasedNumber,
    Call,
    Constant,
    FiniteSet,
    Listing,
    Matrix,
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
from areal_mesh.verifier.vocabulary import DECORATIONS, FUNCTIONS, GREEK

_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "smallmatrix", "Vmatrix"})
_APPLIED = frozenset("fgFG")
"""Letters that name a function where a bracket follows."""
_MINUS_ONE = Number(Fraction(-1))
_HALF = Number(Fraction(1, 2))


class ExpressionParser:
    """Reads one scalar from tokens at a position.

    Subclasses say what brackets enclose, because an answer's brackets hold more than scalars.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0

    def at_end(self) -> bool:
        return self.position >= len(self.tokens)

    def peek(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index].text if index < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index].kind if index < len(self.tokens) else ""

    def advance(self) -> None:
        self.position += 1

    def expect(self, text: str) -> None:
        if self.peek() != text:
            raise Unparsed(f"expected {text!r}, found {self.peek()!r}")
        self.advance()

    def expect_end(self) -> None:
        if not self.at_end():
            raise Unparsed(f"unexpected {self.peek()!r}")

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper, within the bound."""
        self.depth += 1
        if self.depth > limits.NESTING:
            raise Unparsed("nesting deeper than the bound")
        yield
        self.depth -= 1

    def listing(self, closers: tuple[str, ...]) -> Node:
        raise NotImplementedError

    def bracket(self) -> Node:
        raise NotImplementedError

    def scalar(self) -> Node:
        """A sum of terms."""
        with self.nested():
            terms = [self._signed_term()]
            while self.peek() in ("+", "-", r"\pm", r"\mp"):
                terms.append(self._signed_term())
            return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def _signed_term(self) -> Node:
        negative = False
        sign = ""
        while self.peek() in ("+", "-", r"\pm", r"\mp"):
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
        factors = [self._factor()]
        while not self.at_end():
            text = self.peek()
            if text == "*":
                self.advance()
                factors.append(self._unary_factor())
            elif text == "/":
                self.advance()
                factors[-1:] = [Quotient(factors[-1], self._unary_factor())]
            elif text in (r"\bmod", r"\over", r"\choose"):
                raise Unparsed(f"{text} is not read")
            elif self._starts_factor():
                if self.kind() in ("number", "digits") and isinstance(factors[-1], Number):
                    mixed = self._mixed_number(factors[-1])
                    factors[-1:] = [mixed]
                else:
                    whole = factors[-1]
                    factor = self._factor()
                    if len(factors) == 1 and _is_mixed(whole, factor):
                        factors = [Sum((whole, factor))]
                    else:
                        factors.append(factor)
            else:
                break
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def _mixed_number(self, whole: Number) -> Node:
        """`1 1/2`: two numbers side by side are a mixed number or nothing."""
        if self.peek(1) == "/" and self.kind(2) == "number" and whole.decimals is None:
            part = Quotient(self._number(), (self.advance(), self._number())[1])  # type: ignore[func-returns-value]
            if _is_mixed(whole, part):
                return Sum((whole, part))
        raise Unparsed("two numbers side by side")

    def _unary_factor(self) -> Node:
        if self.peek() == "-":
            self.advance()
            return negated(self._factor())
        if self.peek() == "+":
            self.advance()
        return self._factor()

    def _starts_factor(self) -> bool:
        text, kind = self.peek(), self.kind()
        if kind in ("number", "letter", "digits"):
            return True
        if kind == "command":
            name = text[1:]
            return (
                text in (r"\frac", r"\sqrt", r"\pi", r"\infty", r"\{", r"\binom", r"\begin", r"\lfloor", r"\lceil")
                or text in (r"\langle", r"\angle", r"\triangle", r"\emptyset", r"\Reals", r"\mathbb", r"\circ")
                or name in FUNCTIONS
                or text in GREEK
                or text in DECORATIONS
            )
        return text in ("(", "[", "{") or (text == "|" and self.bars == 0)

    def _factor(self) -> Node:
        """A primary with its powers, factorials, degrees and percent signs."""
        node = self._primary()
        while not self.at_end():
            text = self.peek()
            if text == "^":
                node = self._power(node)
            elif text == "!":
                self.advance()
                node = Call("factorial", (node,))
            elif text in ("%", r"\circ"):
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
        exponent = self._argument(signed=True)
        if self.peek() == "^":
            raise Unparsed("power of a power without brackets")
        return Power(base, exponent)

    def _argument(self, *, signed: bool = False) -> Node:
        r"""The argument of `\frac`, `\sqrt` or `^`: a group, or one digit, letter or command."""
        if self.peek() == "{":
            return self._group()
        if signed and self.peek() in ("-", "+"):
            negative = self.peek() == "-"
            self.advance()
            argument = self._argument()
            return negated(argument) if negative else argument
        if self.kind() == "number":
            return self._number() if signed else self._digit()
        return self._primary()

    def _digit(self) -> Node:
        r"""One digit, as TeX reads `\frac12`; the rest of the literal stays."""
        token = self.tokens[self.position]
        if len(token.text) == 1 or not token.text[0].isdigit() or "." in token.text:
            return self._number()
        self.tokens[self.position] = Token("number", token.text[1:])
        return Number(Fraction(int(token.text[0])))

    def _group(self) -> Node:
        self.expect("{")
        bars, self.bars = self.bars, 0
        with self.nested():
            node = self.listing(("}",))
        self.bars = bars
        self.expect("}")
        return node

    def _number(self) -> Number:
        text = self.peek()
        if self.kind() != "number":
            raise Unparsed(f"expected a number, found {text!r}")
        self.advance()
        whole, point, decimals = text.partition(".")
        if not point or not decimals:
            return Number(Fraction(int(whole)))
        return Number(Fraction(int(whole + decimals or "0"), 10 ** len(decimals)), len(decimals))

    def _primary(self) -> Node:
        with self.nested():
            text, kind = self.peek(), self.kind()
            if kind == "number":
                number_text = text
                number = self._number()
                return self._based(number_text) if self.peek() == "_" else number
            if kind == "digits":
                return self._special_digits()
            if kind == "letter":
                return self._letter()
            if text == "{":
                return self._group()
            if text in ("(", "[", r"\{", r"\langle"):
                bars, self.bars = self.bars, 0
                node = self.bracket()
                self.bars = bars
                return node
            if text == "|":
                return self._absolute()
            if kind == "command":
                return self._command(text)
            raise Unparsed(f"unexpected {text!r}" if text else "unexpected end")

    def _letter(self) -> Node:
        name = self.peek()
        self.advance()
        while self.peek() == "'":
            name += "'"
            self.advance()
        if name in _APPLIED and self.peek() == "(":
            return Call(name, (self.bracket(),))
        if self.peek() == "_":
            return Symbol(name + "_" + self._subscript_text())
        if name == "e":
            return Constant("e")
        if name == "i":
            return Constant("i")
        return Symbol(name)

    def _subscript_text(self) -> str:
        self.expect("_")
        if self.peek() != "{":
            text = self.peek()
            self.advance()
            return text
        self.advance()
        parts = []
        while not self.at_end() and self.peek() != "}":
            parts.append(self.peek())
            self.advance()
        self.expect("}")
        return "".join(parts)

    def _subscript(self, node: Node) -> Node:
        if isinstance(node, Number) and node.decimals is None and node.value.denominator == 1 and node.value >= 0:
            return self._based(str(node.value.numerator))
        raise Unparsed("subscript after what has none")

    def _based(self, digits: str) -> Node:
        base = self._subscript_text()
        named = {"two": 2, "three": 3, "eight": 8, "ten": 10, "sixteen": 16}.get(base.lower())
        value = named if named is not None else int(base) if base.isdigit() and len(base) <= 2 else 0
        if not 2 <= value <= 36 or any(int(digit, 36) >= value for digit in digits if digit.isalnum()):
            raise Unparsed("digits that their base does not have")
        if not digits.isalnum():
            raise Unparsed("a point in a number with a base")
        return BasedNumber(digits.lstrip("0") or "0", value)

    def _special_digits(self) -> Node:
        text = self.peek()
        self.advance()
        if "(" not in text:
            return self._based(text)
        whole, _, rest = text.partition(".")
        fixed, _, repeating = rest.rstrip(")").partition("(")
        value = Fraction(int(whole + fixed + repeating) - int(whole + fixed), 10 ** len(fixed + repeating) - 10 ** len(fixed))
        return Number(value)

    def _absolute(self) -> Node:
        self.advance()
        self.bars += 1
        inner = self.scalar()
        self.bars -= 1
        self.expect("|")
        return Call("abs", (inner,))

    def _command(self, text: str) -> Node:
        name = text[1:]
        self.advance()
        if text == r"\frac":
            return Quotient(self._argument(), self._argument())
        if text == r"\sqrt":
            return self._root()
        if text == r"\pi":
            return Constant("pi")
        if text == r"\infty":
            return Constant("infinity")
        if text == r"\binom":
            return Call("binomial", (self._argument(), self._argument()))
        if text == r"\begin":
            return self._matrix()
        if text in (r"\lfloor", r"\lceil"):
            inner = self.scalar()
            self.expect(r"\rfloor" if text == r"\lfloor" else r"\rceil")
            return Call("floor" if text == r"\lfloor" else "ceiling", (inner,))
        if text in GREEK:
            return Symbol(name + "_" + self._subscript_text()) if self.peek() == "_" else Symbol(name)
        if text in (r"\angle", r"\triangle") and self.kind() == "letter":
            return Symbol(name + " " + self._letters())
        if text in DECORATIONS:
            return Symbol(name + " " + self._decorated())
        if text in (r"\emptyset", r"\Reals"):
            return FiniteSet(()) if text == r"\emptyset" else Symbol("reals")
        if name in FUNCTIONS:
            return self._function(name)
        raise Unparsed(f"{text} is not read")

    def _letters(self) -> str:
        parts = []
        while self.kind() == "letter":
            parts.append(self.peek())
            self.advance()
        return "".join(parts)

    def _decorated(self) -> str:
        if self.peek() == "{":
            self.advance()
            name = self._letters()
            self.expect("}")
        else:
            name = self.peek() if self.kind() == "letter" else ""
            self.advance()
        if not name:
            raise Unparsed("decoration of what is no letter")
        return name

    def _root(self) -> Node:
        index: Node | None = None
        if self.peek() == "[":
            self.advance()
            index = self.scalar()
            self.expect("]")
        if self.peek() == "(":
            # Plain `sqrt(2)`: the bracket is the argument.
            radicand = self._primary()
        else:
            radicand = self._argument()
        if index is None or index == Number(Fraction(2)):
            return Power(radicand, _HALF)
        return Call("root", (radicand, index))

    def _function(self, name: str) -> Node:
        exponent: Node | None = None
        base: Node | None = None
        while self.peek() in ("^", "_"):
            mark = self.peek()
            self.advance()
            argument = self._argument(signed=True)
            if mark == "^":
                exponent = argument
            else:
                base = argument
        arguments: tuple[Node, ...] = (self._function_argument(),)
        if isinstance(arguments[0], Listing):
            arguments = arguments[0].items
        if name in ("log", "lg") and base is not None:
            arguments = (*arguments, base)
        elif base is not None:
            raise Unparsed("subscript of a function")
        if exponent == _MINUS_ONE and name in ("sin", "cos", "tan"):
            return Call("arc" + name, arguments)
        if name in ("log", "lg") and len(arguments) == 1 and name == "lg":
            arguments = (*arguments, Number(Fraction(10)))
        name = {"lg": "log", "ln": "log"}.get(name, name)
        call: Node = Power(Constant("e"), arguments[0]) if name == "exp" else Call(name, arguments)
        return call if exponent is None else Power(call, exponent)

    def _function_argument(self) -> Node:
        """A bracket, or the factors up to the next function or operator."""
        if self.peek() in ("(", "["):
            self.advance()
            with self.nested():
                node = self.listing((")", "]"))
            if self.peek() not in (")", "]"):
                raise Unparsed("bracket without end")
            self.advance()
            return node
        negative = self.peek() == "-"
        if negative:
            self.advance()
        factors = [self._factor()]
        while self._starts_factor() and self.peek()[1:] not in FUNCTIONS and self.peek() not in ("(", "[", r"\{"):
            factors.append(self._factor())
        if self.peek() == "/" and self.kind(1) == "number":
            self.advance()
            factors = [Quotient(Product(tuple(factors)) if len(factors) > 1 else factors[0], self._factor())]
        node = factors[0] if len(factors) == 1 else Product(tuple(factors))
        return negated(node) if negative else node

    def _matrix(self) -> Node:
        environment = self._environment()
        if environment not in _MATRICES:
            raise Unparsed(f"environment {environment} is not read")
        if environment == "array" and self.peek() == "{":
            while not self.at_end() and self.peek() != "}":
                self.advance()
            self.expect("}")
        rows: list[tuple[Node, ...]] = []
        with self.nested():
            while self.peek() != r"\end":
                rows.append(self._row())
                if sum(map(len, rows)) > limits.LIST_ITEMS:
                    raise Unparsed("matrix larger than the bound")
        self.advance()
        if self._environment() != environment or not rows or len({len(row) for row in rows}) != 1:
            raise Unparsed("matrix with rows of different lengths")
        if environment == "vmatrix":
            return Call("det", (Matrix(tuple(rows)),))
        return Matrix(tuple(rows))

    def _row(self) -> tuple[Node, ...]:
        cells = [self.scalar()]
        while self.peek() == "&":
            self.advance()
            cells.append(self.scalar())
        if self.peek() == r"\\":
            self.advance()
        elif self.peek() != r"\end":
            raise Unparsed(f"unexpected {self.peek()!r} in a matrix")
        return tuple(cells)

    def _environment(self) -> str:
        self.expect("{")
        name = ""
        while not self.at_end() and self.peek() != "}":
            name += self.peek()
            self.advance()
        self.expect("}")
        return name


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
