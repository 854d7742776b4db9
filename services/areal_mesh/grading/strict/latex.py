r"""LaTeX as Qwen's protocol reads it: by the grammar of SymPy's `parse_latex`, to which a text need not belong whole.

What stands at the beginning and makes an expression is the expression; what follows is passed over, so that `3, 5` is 3
and `10_{16}` is 10. Every name is a letter without a meaning, `\pi`, `e` and `i` too, and a name before a bracket is a
function. Nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.strict.latex_tokens import Tokens, Unknown
from areal_mesh.grading.trees.nodes import (
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Relation,
    Sum,
    Symbol,
    Unparsed,
    Words,
    negated,
)

_SUMS: Final = frozenset("+-")
_PRODUCTS: Final = {"*": "*", "/": "/", ":": "/", r"\cdot": "*", r"\times": "*", r"\div": "/"}
_RELATIONS: Final = {
    "=": "=", "<": "<", ">": ">", r"\lt": "<", r"\gt": ">", r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=",
    r"\ge": ">=", r"\geq": ">=", r"\geqslant": ">=", r"\neq": "!=",
}  # fmt: skip
_CLOSING: Final = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_FUNCTIONS: Final = frozenset(
    {"sin", "cos", "tan", "csc", "sec", "cot", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"}
    | {"arcsinh", "arccosh", "arctanh", "exp", "log", "ln", "lg"}
)
_NAMED: Final = frozenset("\\" + name for name in _FUNCTIONS)
_INVERTED: Final = frozenset({"sin", "cos", "tan", "cot"})
_UNREAD: Final = frozenset({r"\int", r"\sum", r"\prod", r"\lim", r"\sqrt", r"\frac", r"\binom"})
_NO_START: Final = frozenset({*_PRODUCTS, *_RELATIONS, r"\}", r"\|", r"\rfloor", r"\rceil"})


def read(text: str) -> Node:
    """The expression or relation that a text begins with.

    Raises:
        Unparsed: if it begins with none.
    """
    return _Reader(text).relation()


class _Reader(Tokens):
    """Reads by recursive descent."""

    def relation(self) -> Node:
        left = self.sum()
        if self.token not in _RELATIONS:
            return left
        operators = [_RELATIONS[self.token]]
        self.advance()
        right = self.sum()
        while self.token in _RELATIONS:
            operators.append(_RELATIONS[self.token])
            self.advance()
            self.sum()
        if len(operators) > 1 and set(operators) != {"="}:
            raise Unparsed("a chain of inequalities")
        # SymPy takes a chain of equations for one of a truth and a number, which is false.
        return Words("False") if len(operators) > 1 else Relation((left, right), (operators[0],))

    def sum(self) -> Node:
        terms = [self.product()]
        while self.token in _SUMS and self.kind == "sign":
            sign = self.token
            term = self.attempt(self.product)
            if term is None:
                break
            terms.append(negated(term) if sign == "-" else term)
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def product(self) -> Node:
        self.depth += 1
        if self.depth > limits.NESTING:
            raise Unparsed("nesting deeper than the bound")
        node = self.unary()
        while self.token in _PRODUCTS:
            operator = _PRODUCTS[self.token]
            factor = self.attempt(self.unary)
            if factor is None:
                break
            node = Product((node, factor)) if operator == "*" else Quotient(node, factor)
        self.depth -= 1
        return node

    def attempt(self, operand: Callable[[], Node], *, past: bool = True) -> Node | None:
        """The operand after the token here, or from it on; None where there is none: the expression ends before it."""
        state = self.at, self.end, self.token, self.kind, self.bars, self.depth
        try:
            if past:
                self.advance()
            return operand()
        except Unknown:
            raise
        except Unparsed:
            self.at, self.end, self.token, self.kind, self.bars, self.depth = state
            return None

    def unary(self) -> Node:
        if self.token in _SUMS and self.kind == "sign":
            sign = self.token
            self.advance()
            inner = self.unary()
            return negated(inner) if sign == "-" else inner
        return self.factors(_NO_START)

    def factors(self, stops: frozenset[str]) -> Node:
        """Operands side by side, up to one of the commands that stop them."""
        factors = [self.postfix()]
        while self.starts() and self.token not in stops:
            factor = self.attempt(self.postfix, past=False)
            if factor is None:
                break
            factors.append(factor)
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def starts(self) -> bool:
        """Whether an operand begins here."""
        if self.kind in ("number", "differential"):
            return True
        if self.kind == "command":
            return self.token not in _NO_START
        return self.token.isalpha() or self.token in ("(", "[", "{") or (self.token == "|" and not self.bars)

    def postfix(self) -> Node:
        node = self.operand()
        while self.token == "^":
            exponent = self.attempt(self.script)
            if exponent is None:
                break
            node = Power(node, exponent)
        while self.token == "!":
            self.advance()
            node = Call("factorial", (node,))
        return node

    def script(self) -> Node:
        """What stands above or below: a group in braces, or one atom."""
        return self.group("{") if self.token == "{" else self.atom(applied=False)

    def group(self, opening: str) -> Node:
        self.expect(opening)
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.bars = bars
        self.expect(_CLOSING[opening])
        return node

    def operand(self) -> Node:
        if self.token in _CLOSING:
            return self.group(self.token)
        if self.token == "|":
            self.advance()
            self.bars += 1
            node = self.sum()
            self.bars -= 1
            self.expect("|")
            return Call("abs", (node,))
        if self.token in (r"\lfloor", r"\lceil"):
            name = self.token[2:]
            self.advance()
            node = self.sum()
            self.expect(rf"\r{name}")
            return Call("floor" if name == "floor" else "ceiling", (node,))
        if self.kind == "command" and self.token[1:] in _FUNCTIONS:
            return self.function()
        if self.token == r"\sqrt":
            return self.root()
        if self.token == r"\overline":
            self.advance()
            return Call("conjugate", (self.group("{"),))
        return self.atom()

    def root(self) -> Node:
        self.advance()
        degree = self.group("[") if self.token == "[" else Number(Fraction(2))
        return Power(self.group("{"), Quotient(Number(Fraction(1)), degree))

    def function(self) -> Node:
        name = self.token[1:]
        self.advance()
        exponent: Node | None = None
        base: Node | None = None
        while self.token in ("^", "_"):
            mark = self.token
            self.advance()
            argument = self.script()
            exponent, base = (argument, base) if mark == "^" else (exponent, argument)
        arguments: tuple[Node, ...] = (self.group("(") if self.token == "(" else self.factors(_NAMED),)
        if name == "lg":
            arguments = (*arguments, Number(Fraction(10)))
        elif name == "log" and base is not None:
            arguments = (*arguments, base)
        if name == "exp":
            node: Node = Power(Constant("e"), arguments[0])
        elif exponent == Number(Fraction(-1)) and name in _INVERTED:
            return Call(f"arc{name}", arguments)
        else:
            node = Call("log" if name in ("log", "ln", "lg") else name, arguments)
        return node if exponent is None else Power(node, exponent)

    def atom(self, *, applied: bool = True) -> Node:
        token, kind = self.token, self.kind
        if kind == "number":
            self.advance()
            while self.kind == "number" and "." not in token + self.token and "," not in token:
                token += self.token  # with a space between them
                self.advance()
            if self.token == "." and self.text[self.at - 1 : self.at].isdigit() and "." not in token:
                raise Unparsed("a point without decimals")
            whole, _, decimals = token.replace(",", "").partition(".")
            if len(token) > limits.LITERAL_DIGITS:
                raise Unparsed("a number longer than the bound")
            return Number(Fraction(int(whole + decimals or "0"), 10 ** len(decimals)), len(decimals) or None)
        if token in (r"\frac", r"\dfrac", r"\tfrac", r"\binom", r"\dbinom", r"\tbinom"):
            self.advance()
            first, second = self.digit_or_group(), self.digit_or_group()
            return Quotient(first, second) if "frac" in token else Call("binomial", (first, second))
        if kind == "differential":
            self.advance()
            return Symbol(token)
        if kind != "command" and not token.isalpha():
            raise Unparsed(f"unexpected {token!r}" if token else "unexpected end")
        if token in _UNREAD or token in _NO_START:
            raise Unparsed(f"{token} is not read")
        self.advance()
        if token == r"\infty":
            return Constant("infinity")
        return self.named(token.removeprefix("\\"), applied=applied)

    def named(self, name: str, *, applied: bool) -> Node:
        """A letter with its primes and index, or the function that it is before a bracket."""
        while self.token in ("'", "_"):
            mark = self.token
            self.advance()
            if mark == "_":
                start = self.at
                self.script()
                name += "_" + self.text[start : self.at].strip("{}")
            else:
                name += mark
        if self.token != "(" or not applied:
            return Symbol(name)
        self.advance()
        arguments = [self.sum()]
        while self.token == ",":
            self.advance()
            arguments.append(self.sum())
        self.expect(")")
        return Call(f"apply {name}", tuple(arguments))

    def digit_or_group(self) -> Node:
        if self.token == "{":
            return self.group("{")
        if self.kind != "number":
            raise Unparsed("a fraction of what is neither a digit nor in braces")
        digit = self.text[self.at]
        self.end = self.at + 1
        self.advance()
        return Number(Fraction(int(digit)))
