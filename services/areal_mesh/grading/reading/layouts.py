"""What `\\begin` opens: matrices, cases, systems set in rows."""

from __future__ import annotations

from areal_mesh.grading import limits
from areal_mesh.grading.reading.binding import BindingParser
from areal_mesh.grading.trees.matrices import determinant
from areal_mesh.grading.trees.nodes import Bracketed, FiniteSet, Listing, Matrix, Node, Unparsed, Words
from areal_mesh.grading.vocabulary import CONDITION_WORDS, RELATIONS

_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "smallmatrix"})
_ROWS = frozenset(
    {"cases", "dcases", "rcases", "array", "aligned", "align", "gathered", "gather", "split", "alignedat"}
)
_ROW_ENDS = frozenset({r"\\", r"\end"})
_IGNORED = frozenset({",", ".", ";", "&"})
_SPEAKS = frozenset({"is", "an", "a", *CONDITION_WORDS})


class LayoutParser(BindingParser):
    """Reads environments."""

    def environment(self) -> Node:
        """A matrix, or what stands in rows: values side by side, or each with its condition."""
        name = self._name()
        if name.endswith("*"):
            name = name[:-1]
            self._skip_alignment()
        if name in ("array", "alignedat") and self.peek() == "{":
            while not self.at_end() and self.peek() != "}":
                self.advance()
            self.expect("}")
        start = self.position
        columns = name == "matrix" and self._has_relations()
        if (name in _MATRICES and not columns) or (
            name == "array" and self.peek(-1) == "}" and not self._has_relations()
        ):
            matrix = Matrix(self._matrix(name))
            return determinant(matrix) if name == "vmatrix" else matrix
        if name not in _ROWS and not columns:
            raise Unparsed(f"environment {name} is not read")
        self.position = start
        return self._rows(name)

    def _has_relations(self) -> bool:
        """Whether there is a relation or a word in the environment: a system, and no matrix."""
        for token in self.tokens[self.position :]:
            if token.text == r"\end":
                return False
            if token.text in RELATIONS or token.kind == "word":
                return True
        return False

    def _matrix(self, name: str) -> tuple[tuple[Node, ...], ...]:
        rows: list[tuple[Node, ...]] = []
        with self.nested():
            while self.peek() != r"\end":
                rows.append(self._row())
                if sum(map(len, rows)) > limits.LIST_ITEMS:
                    raise Unparsed("matrix larger than the bound")
        self.advance()
        if self._name().removesuffix("*") != name or not rows or len({len(row) for row in rows}) != 1:
            raise Unparsed("matrix with rows of different lengths")
        return tuple(rows)

    def _skip_alignment(self) -> None:
        """Passes over the `[r]` of `pmatrix*`."""
        if self.peek() == "[":
            self.advance()
            self.letters()
            self.expect("]")

    def _rows(self, name: str) -> Node:
        """Values side by side, or each with its condition as the set of such pairs."""
        if name not in ("cases", "dcases", "rcases", "array") or self._are_aligned():
            self._join_columns()
        rows: list[Node] = []
        with self.nested():
            while self.peek() != r"\end":
                value = self.relation()
                while self.peek() in _IGNORED or self.peek().lower() in CONDITION_WORDS:
                    self.advance()
                if self.peek() not in _ROW_ENDS:
                    value = Bracketed("(", (value, self._condition()), ")")
                rows.append(value)
                while self.peek() in _IGNORED:
                    self.advance()
                if self.peek() == r"\\":
                    self.advance()
                elif self.peek() != r"\end" or len(rows) > limits.LIST_ITEMS:
                    raise Unparsed("rows that are not read")
        self.advance()
        if self._name().removesuffix("*") != name or not rows:
            raise Unparsed("rows without end")
        return FiniteSet(tuple(rows)) if all(isinstance(row, Bracketed) for row in rows) else Listing(tuple(rows))

    def _are_aligned(self) -> bool:
        """Whether a relation stands in a column of its own: `x & = & 2`."""
        after = zip(self.tokens[self.position :], self.tokens[self.position + 1 :], strict=False)
        return any(token.text == "&" and sign.text in RELATIONS for token, sign in after)

    def _join_columns(self) -> None:
        """Takes the marks out of `x &= 2`, up to the environment's end."""
        at = self.position
        while at < len(self.tokens) and self.tokens[at].text != r"\end":
            if self.tokens[at].text == "&":
                del self.tokens[at]
            else:
                at += 1

    def _condition(self) -> Node:
        """A relation, or the words of a condition."""
        at = self.position
        while at < len(self.tokens) and self.tokens[at].text not in _ROW_ENDS | {",", ".", ";"}:
            at += 1
        tokens = self.tokens[self.position : at]
        said = [token.text.lower() for token in tokens if token.text.lower() not in _SPEAKS]
        divides = _divisibility(said)
        if divides is None and not any(token.kind == "word" for token in tokens):
            return self.relation()
        self.position = at
        return Words(divides or " ".join("otherwise" if word == "else" else word for word in said))

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

    def _name(self) -> str:
        self.expect("{")
        name = ""
        while not self.at_end() and self.peek() != "}":
            name += self.peek()
            self.advance()
        self.expect("}")
        return name


def _divisibility(said: list[str]) -> str | None:
    r"""One spelling of `3 \mid n`, `n \equiv 0 \pmod 3`, `n \text{ even}`; None for another condition."""
    match [word for word in said if word not in ("{", "}")]:
        case [divisor, "|" | "divides", letter] if divisor.isdigit():
            return f"{divisor} divides {letter}"
        case [letter, r"\equiv", "0", r"\pmod", divisor] | [letter, "divisible", "by", divisor]:
            return f"{divisor} divides {letter}"
        case [divisor, r"\nmid", letter] if divisor.isdigit():
            return f"not {divisor} divides {letter}"
        case [letter, r"\equiv", "1", r"\pmod", "2"] | [letter, "odd"]:
            return f"not 2 divides {letter}"
        case [letter, "even"]:
            return f"2 divides {letter}"
    return None
