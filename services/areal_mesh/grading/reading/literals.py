"""The smallest parts of expressions: numbers, letters with subscripts, groups."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from areal_mesh.grading.reading.cursor import TokenReader
from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.trees.nodes import (
    BasedNumber,
    Call,
    Constant,
    Node,
    Number,
    Product,
    Relation,
    Symbol,
    Unparsed,
    negated,
)
from areal_mesh.grading.vocabulary import NUMBER_WORDS, RELATIONS

_OPENING = frozenset({"(", "[", "{", r"\{"})
_CLOSING = frozenset({")", "]", "}", r"\}"})
_APPLIED = frozenset("fgFG")
"""Letters that name a function where a bracket follows."""
_INVERSE = ["^", "{", "-", "1", "}", "("]
_COUNTING = frozenset("CP")


class LiteralParser(TokenReader):
    """Reads numbers, letters and groups."""

    @abstractmethod
    def command(self, text: str) -> Node:
        """What a LaTeX command stands for, with its arguments."""

    @abstractmethod
    def absolute(self) -> Node:
        """What stands between bars."""

    def argument(self, *, signed: bool = False) -> Node:
        r"""The argument of `\frac`, `\sqrt` or `^`: a group, or one digit, letter or command."""
        if self.peek() == "{":
            return self._group()
        if signed and self.peek() in ("-", "+"):
            negative = self.peek() == "-"
            self.advance()
            argument = self.argument()
            return negated(argument) if negative else argument
        if self.kind() == "number":
            return self.number() if signed else self._digit()
        return self.primary()

    def _digit(self) -> Node:
        r"""One digit, as TeX reads `\frac12`; the rest of the literal stays."""
        token = self.tokens[self.position]
        if len(token.text) == 1 or not token.text[0].isdigit() or "." in token.text:
            return self.number()
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

    def number(self) -> Number:
        text = self.peek()
        if self.kind() != "number":
            raise Unparsed(f"expected a number, found {text!r}")
        self.advance()
        whole, point, decimals = text.partition(".")
        if not point or not decimals:
            return Number(Fraction(int(whole)))
        return Number(Fraction(int(whole + decimals or "0"), 10 ** len(decimals)), len(decimals))

    def primary(self) -> Node:
        with self.nested():
            text, kind = self.peek(), self.kind()
            if kind == "number":
                number_text = text
                number = self.number()
                return self.based(number_text) if self.peek() == "_" else number
            if kind == "digits":
                return self._special_digits()
            if kind == "letter":
                return self._letter()
            if kind == "name":
                self.advance()
                return Symbol(text)
            if text == "{":
                return self._group()
            if text == r"\{" and self.peek(1) == r"\begin":
                return self._braced_rows()
            if text in ("(", "[", r"\{", r"\langle"):
                bars, self.bars = self.bars, 0
                node = self.bracket()
                self.bars = bars
                return node
            if text == "|":
                return self.absolute()
            if kind == "command":
                return self.command(text)
            raise Unparsed(f"unexpected {text!r}" if text else "unexpected end")

    def _braced_rows(self) -> Node:
        r"""`\left\{ \begin{array} ... \end{array} \right.`: a brace that is not closed."""
        self.advance()
        node = self.command(self.peek())
        self.position += self.peek() == r"\}"
        return node

    def _letter(self) -> Node:
        name = self.peek()
        self.advance()
        while self.peek() == "'":
            name += "'"
            self.advance()
        self._unwrap_bracket()
        if [self.peek(ahead) for ahead in range(6)] == _INVERSE and (name in _APPLIED or self._is_applied(5)):
            self.position += 5
            name += "^-1"
        point = len(name) == 1 and name.isupper() and self._coordinates_follow()
        if name.rstrip("'").removesuffix("^-1") in _APPLIED and self.peek() == "(" and not point:
            return Call(name, (self.bracket(),))
        if name in _COUNTING and self._is_counted():
            return self._count(name)
        if point:
            return Relation((Symbol(name), self.bracket()), ("=",))
        if name == "C" and self._is_chosen():
            self.advance()
            upper = self.argument()
            self.advance()
            return Call("binomial", (upper, self.argument(signed=True)))
        if self.peek() == "(" and self._is_applied():
            return Call("apply " + name, (self.bracket(),))
        if self.peek() == "_":
            symbol = Symbol(name + "_" + self.subscript_text())
            if name.isupper() and self._coordinates_follow():
                return Relation((symbol, self.bracket()), ("=",))
            return symbol
        if name == "e":
            return Constant("e")
        if name == "i":
            return Constant("i")
        return Symbol(name)

    def _is_counted(self) -> bool:
        """Whether `(8, 3) = 56` goes on here: a number of choices, and no point."""
        shape = [self.peek(ahead) for ahead in (0, 2, 4, 5)]
        if shape != ["(", ",", ")", "="] or self.peek(6) in _OPENING:
            return False
        return self.peek(1).isdigit() and self.peek(3).isdigit() and int(self.peek(1)) >= int(self.peek(3))

    def _count(self, name: str) -> Node:
        """C(n, k), the number of choices, or P(n, k), the number of arrangements."""
        total, chosen = Number(Fraction(int(self.peek(1)))), Number(Fraction(int(self.peek(3))))
        self.position += 5
        choices = Call("binomial", (total, chosen))
        return choices if name == "C" else Product((choices, Call("factorial", (chosen,))))

    def _coordinates_follow(self) -> bool:
        """Whether `P(2, 3)` goes on here: a bracket with a comma of its own."""
        if self.peek() != "(":
            return False
        depth = 0
        for token in self.tokens[self.position :]:
            depth += (token.text in _OPENING) - (token.text in _CLOSING)
            if depth == 0:
                return False
            if depth == 1 and token.text == ",":
                return True
        return False

    def _is_chosen(self) -> bool:
        """Whether `_n^k` goes on here: the binomial coefficient, and no constant with an index and a power."""
        upper, after = self._flat_argument(0, "_")
        lower, _ = self._flat_argument(after, "^") if upper else ("", 0)
        if upper.isdigit() and lower.isdigit():
            return int(upper) > int(lower) > 0
        return bool(upper and lower) and not upper.isdigit()

    def _flat_argument(self, ahead: int, mark: str) -> tuple[str, int]:
        """(text, places taken) of a mark with one token after it, braced or not; empty where there is more."""
        if self.peek(ahead) != mark:
            return "", ahead
        if self.peek(ahead + 1) != "{":
            single = len(self.peek(ahead + 1)) == 1
            return (self.peek(ahead + 1) if single else ""), ahead + 2
        return (self.peek(ahead + 2), ahead + 4) if self.peek(ahead + 3) == "}" else ("", ahead)

    def _unwrap_bracket(self) -> None:
        """Takes the braces off `f{(x)}`, as SymPy writes a function's bracket."""
        if self.peek() != "{" or self.peek(1) != "(":
            return
        depth = 0
        for index in range(self.position + 1, len(self.tokens)):
            depth += (self.tokens[index].text == "(") - (self.tokens[index].text == ")")
            if depth == 0:
                if index + 1 < len(self.tokens) and self.tokens[index + 1].text == "}":
                    del self.tokens[index + 1], self.tokens[self.position]
                return

    def _is_applied(self, ahead: int = 0) -> bool:
        """Whether `(x) =` follows, as of `P(x) =`: a bracket with one letter or number before a relation names a
        value.
        """
        single = self.kind(ahead + 1) in ("letter", "number")
        return single and self.peek(ahead + 2) == ")" and self.peek(ahead + 3) in RELATIONS

    def subscript_text(self) -> str:
        self.expect("_")
        if self.peek() != "{":
            text = self.peek()
            self.advance()
            return text
        self.advance()
        parts: list[str] = []
        depth = 0
        while not self.at_end() and (depth or self.peek() != "}"):
            depth += (self.peek() == "{") - (self.peek() == "}")
            parts.append(self.peek())
            self.advance()
        self.expect("}")
        return "".join(parts)

    def based(self, digits: str) -> Node:
        return self.in_base(digits, self.subscript_text().strip("()").removeprefix("base"))

    def in_base(self, digits: str, base: str) -> Node:
        """The number with these digits; the base is in digits or words."""
        named = NUMBER_WORDS.get(base.lower())
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
            return self.based(text)
        whole, _, rest = text.partition(".")
        fixed, _, repeating = rest.rstrip(")").partition("(")
        scale = 10 ** len(fixed + repeating) - 10 ** len(fixed)
        return Number(Fraction(int(whole + fixed + repeating) - int(whole + fixed), scale))
