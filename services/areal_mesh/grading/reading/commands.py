"""What LaTeX commands stand for: fractions, roots, functions, matrices, decorated letters."""

from __future__ import annotations

from fractions import Fraction

from areal_mesh.grading.reading.layouts import LayoutParser
from areal_mesh.grading.trees.matrices import determinant
from areal_mesh.grading.trees.nodes import (
    DOTS,
    Call,
    Constant,
    FiniteSet,
    Listing,
    Matrix,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Symbol,
    Unparsed,
    negated,
)
from areal_mesh.grading.vocabulary import (
    BIG_OPERATORS,
    DECORATIONS,
    FUNCTIONS,
    GREEK,
    NUMBER_SETS,
    RELATIONS,
)

_FUNCTION_SYNONYMS = {
    "lg": "log", "ln": "log", "ceil": "ceiling", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "tg": "tan", "ctg": "cot", "arctg": "arctan", "arsinh": "arcsinh", "arcosh": "arccosh", "artanh": "arctanh",
}  # fmt: skip
_TRIGONOMETRIC = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch"})
_SEVERAL_ARGUMENTS = frozenset({"log", "gcd", "lcm", "max", "min", "binomial"})
_MINUS_ONE = Number(Fraction(-1))
_HALF = Number(Fraction(1, 2))


class CommandParser(LayoutParser):
    """Reads commands with their arguments."""

    def command(self, text: str) -> Node:
        name = text[1:]
        self.advance()
        if text == r"\frac":
            return self.derivative(Quotient(self.argument(), self.argument()))
        if text == r"\sqrt":
            return self._root()
        if text == r"\pi":
            return Constant("pi")
        if text == r"\dots":
            return DOTS
        if text == r"\infty":
            return Constant("infinity")
        if text == r"\binom":
            return Call("binomial", (self.argument(), self.argument()))
        if text == r"\begin":
            return self.environment()
        if text in (r"\lfloor", r"\lceil"):
            inner = self.scalar()
            self.expect(r"\rfloor" if text == r"\lfloor" else r"\rceil")
            return Call("floor" if text == r"\lfloor" else "ceiling", (inner,))
        if text in GREEK:
            return Symbol(name + "_" + self.subscript_text()) if self.peek() == "_" else Symbol(name)
        if text == r"\overline" and self._is_conjugate():
            return Call("conjugate", (self.argument(),))
        if text in (r"\angle", r"\triangle", r"\nabla") and (self.kind() == "letter" or self.peek() == "{"):
            return Symbol(name + " " + (self._decorated() if self.peek() == "{" else self.letters()))
        if text in (r"\angle", r"\triangle") and self.peek() in RELATIONS:
            return Symbol(name)
        if text in DECORATIONS:
            return self._decoration(name)
        if text == r"\emptyset":
            return FiniteSet(())
        if text in NUMBER_SETS.values():
            return Symbol(name.lower())
        if name in FUNCTIONS:
            return self._function(name)
        if text in BIG_OPERATORS:
            return self.big_operator(name)
        raise Unparsed(f"{text} is not read")

    def _decoration(self, name: str) -> Symbol:
        letters = self._decorated()
        # `\vec{a}` is a in bold, and `\overline{AB}` as a length is AB.
        bare = name == "vec" or (name == "overline" and len(letters) > 1)
        decorated = letters if bare else f"{name} {letters}"
        return Symbol(decorated + "_" + self.subscript_text() if self.peek() == "_" else decorated)

    def _is_conjugate(self) -> bool:
        """Whether an overlined group is an expression of complex numbers, and no name or repeating decimal."""
        end = self.position
        while end < len(self.tokens) and self.tokens[end].text != "}":
            end += 1
        texts = [token.text for token in self.tokens[self.position : end]]
        return texts[:1] == ["{"] and ("+" in texts or "-" in texts) and bool({"i", "z", "w"} & set(texts))

    def _decorated(self) -> str:
        if self.peek() == "{":
            self.advance()
            name = self.letters()
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
        # Plain `sqrt(2)`: the bracket is the argument.
        # A number without braces is taken whole, as Qwen's protocol does: a model that writes `\sqrt13` means it.
        radicand = self.primary() if self.peek() == "(" or self.kind() == "number" else self.argument()
        if index is None or index == Number(Fraction(2)):
            return Power(radicand, _HALF)
        return Call("root", (radicand, index))

    def _function(self, name: str) -> Node:
        exponent: Node | None = None
        base: Node | None = None
        while self.peek() in ("^", "_"):
            mark = self.peek()
            self.advance()
            # `\log_23` is the logarithm of 3, `log_10(x)` one to the base ten.
            argument = self.argument(signed=mark == "^" or self._goes_on_after_number())
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
        if name == "log" and len(arguments) == 1 and self.decimal_logarithms:
            arguments = (*arguments, Number(Fraction(10)))
        if exponent == _MINUS_ONE and name in _TRIGONOMETRIC:
            if name not in ("sin", "cos", "tan", "cot", "sinh", "cosh", "tanh"):
                raise Unparsed(f"inverse of {name}")
            return Call("arc" + name, arguments)
        if name == "lg" and len(arguments) == 1:
            arguments = (*arguments, Number(Fraction(10)))
        name = _FUNCTION_SYNONYMS.get(name, name)
        call = self._called(name, arguments)
        return call if exponent is None else Power(call, exponent)

    def _called(self, name: str, arguments: tuple[Node, ...]) -> Node:
        if name in _SEVERAL_ARGUMENTS and len(arguments) == 1 and isinstance(arguments[0], FiniteSet):
            arguments = arguments[0].items or arguments  # `\min\{3, 8\}`
        first = arguments[0]
        if len(arguments) > 1 and name not in _SEVERAL_ARGUMENTS:
            raise Unparsed(f"{name} of several arguments")
        if name == "exp":
            return Power(Constant("e"), first)
        if name == "cis":
            return Power(Constant("e"), Product((Constant("i"), first)))
        if name == "cbrt":
            return Call("root", (first, Number(Fraction(3))))
        if name == "det" and isinstance(first, Matrix):
            return determinant(first)
        return Call(name, arguments)

    def _goes_on_after_number(self) -> bool:
        return self.kind(1) in ("letter", "number", "command") or self.peek(1) in ("(", "{")

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
        factors = [self.factor()]
        while self.starts_factor() and self.peek()[1:] not in FUNCTIONS and self.peek() not in ("(", "[", r"\{"):
            factors.append(self.factor())
        if self.peek() == "/" and self.kind(1) == "number":
            self.advance()
            factors = [Quotient(Product(tuple(factors)) if len(factors) > 1 else factors[0], self.factor())]
        node = factors[0] if len(factors) == 1 else Product(tuple(factors))
        return negated(node) if negative else node

    def absolute(self) -> Node:
        self.advance()
        self.bars += 1
        inner = self.scalar()
        self.bars -= 1
        self.expect("|")
        return determinant(inner) if isinstance(inner, Matrix) else Call("abs", (inner,))
