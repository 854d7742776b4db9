"""What `\\begin` opens: matrices, cases, systems set in rows."""

from __future__ import annotations

from areal_mesh.grading import limits
from areal_mesh.grading.reading.binding import BindingParser
from areal_mesh.grading.trees.matrices import determinant
from areal_mesh.grading.trees.nodes import Bracketed, FiniteSet, Listing, Matrix, Node, Unparsed, Words
from areal_mesh.grading.vocabulary import CONDITION_WORDS

_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "smallmatrix"})


class LayoutParser(BindingParser):
    """Reads environments."""

    def environment(self) -> Node:
        environment = self._environment()
        if environment.endswith("*"):
            environment = environment[:-1]
            self._skip_alignment()
        if environment in ("cases", "dcases"):
            return self._cases(environment)
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
        if self._environment().removesuffix("*") != environment or not rows or len({len(row) for row in rows}) != 1:
            raise Unparsed("matrix with rows of different lengths")
        if environment == "vmatrix":
            return determinant(Matrix(tuple(rows)))
        return Matrix(tuple(rows))

    def _skip_alignment(self) -> None:
        """Passes over the `[r]` of `pmatrix*`."""
        if self.peek() == "[":
            self.advance()
            self.letters()
            self.expect("]")

    def _cases(self, environment: str) -> Node:
        """Values side by side, or each with its condition as the set of such pairs."""
        rows: list[Node] = []
        with self.nested():
            while self.peek() != r"\end":
                value = self.relation()
                while self.peek() in ("&", ",") or self.peek().lower() in CONDITION_WORDS:
                    self.advance()
                if self.peek() not in (r"\\", r"\end"):
                    value = Bracketed("(", (value, self._condition()), ")")
                rows.append(value)
                if self.peek() in (",", "."):
                    self.advance()
                if self.peek() == r"\\":
                    self.advance()
                elif self.peek() != r"\end" or len(rows) > limits.LIST_ITEMS:
                    raise Unparsed("cases that are not read")
        self.advance()
        if self._environment() != environment or not rows:
            raise Unparsed("cases without end")
        return FiniteSet(tuple(rows)) if all(isinstance(row, Bracketed) for row in rows) else Listing(tuple(rows))

    def _condition(self) -> Node:
        """A relation, or the words of a condition."""
        said: list[str] = []
        at = self.position
        while at < len(self.tokens) and self.tokens[at].text not in (r"\\", r"\end", ",", "."):
            said.append(self.tokens[at].text.lower())
            at += 1
        if not any(token.kind == "word" for token in self.tokens[self.position : at]):
            return self.relation()
        self.position = at
        said = ["otherwise" if word == "else" else word for word in said]
        return Words(" ".join(word for word in said if word not in ("is", "an", *CONDITION_WORDS)))

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
