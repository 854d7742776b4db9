"""Whether two parsed answers say the same, whatever shape they have.

Pure and bounded. A comparison that only algebra can settle goes to the `decide` given by the caller: in the
service's own process that returns "undecided", in a worker it asks SymPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from areal_mesh.grading.equality.cases import spread, worked_out
from areal_mesh.grading.equality.intervals import compare_intervals, is_interval_set
from areal_mesh.grading.equality.listings import coordinates_of, families, items_of, must_keep_order, united
from areal_mesh.grading.equality.pieces import compare_pieces
from areal_mesh.grading.equality.quantities import compare_marked, compare_measured
from areal_mesh.grading.equality.ratios import compare_ratios
from areal_mesh.grading.equality.relations import compare_relations
from areal_mesh.grading.equality.residues import compare_residues
from areal_mesh.grading.equality.scalars import Compare, Outcome, compare_scalars
from areal_mesh.grading.equality.units import (
    by_unit,
    distinct_units,
)
from areal_mesh.grading.trees.matrices import as_matrix_like, combined_matrix
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    BasedNumber,
    Bracketed,
    FiniteSet,
    Listing,
    Matrix,
    Measured,
    Node,
    Number,
    Ratio,
    Relation,
    SetOperation,
    Symbol,
    Words,
)
from areal_mesh.grading.trees.rewriting import expand_signs, independent_signs
from areal_mesh.grading.trees.shapes import unit_vectors, vector_items

Decide: TypeAlias = Compare
"""What settles two scalars that values cannot tell apart, or two relations of them."""

_EMPTY = FiniteSet(())
_NOTHING = Words("no solution")
_DIFFERENT_SHAPES = Outcome(False, "shape")


class Equality:
    """Compares answers, asking `decide` where values alone cannot tell."""

    def __init__(self, decide: Decide | None = None) -> None:
        self._decide = decide

    def compare(self, gold: Node, answer: Node) -> Outcome:
        """Whether `answer` says what `gold` says."""
        if gold == answer:
            return Outcome(True, "identical")
        outcome = self._expanded(expand_signs(gold), expand_signs(answer))
        if outcome.equal is False:
            others = independent_signs(gold), independent_signs(answer)
            if any(others):
                return self._expanded(others[0] or expand_signs(gold), others[1] or expand_signs(answer))
        return outcome

    def _expanded(self, gold: Node, answer: Node) -> Outcome:
        special = compare_residues(gold, answer) or compare_pieces(gold, answer, self.scalars)
        if special is not None:
            return special
        gold, answer = combined_matrix(gold), combined_matrix(answer)
        gold, answer = as_matrix_like(gold, answer), as_matrix_like(answer, gold)
        if isinstance(gold, Measured) or isinstance(answer, Measured):
            return compare_measured(gold, answer, self.compare, self.scalars)
        gold, answer = spread(gold, answer), spread(answer, gold)
        if isinstance(gold, FiniteSet) and isinstance(answer, FiniteSet):
            gold, answer = worked_out(gold, answer), worked_out(answer, gold)
        if isinstance(gold, Listing | FiniteSet) or isinstance(answer, Listing | FiniteSet):
            gold, answer = families(gold, answer)
            gold, answer = united(gold, answer, reference=True), united(answer, gold, reference=False)
            if isinstance(gold, Listing | FiniteSet) or isinstance(answer, Listing | FiniteSet):
                collected = self._collections(gold, answer)
                if collected is not None:
                    return collected
        if isinstance(gold, Relation) or isinstance(answer, Relation):
            if _names_another_choice(gold, answer):
                return Outcome(False, "name")
            return compare_relations(gold, answer, self.compare, self.scalars)
        if isinstance(gold, SCALARS) and isinstance(answer, SCALARS):
            return compare_marked(gold, answer, self.scalars)
        return self._shapes(gold, answer)

    def scalars(self, gold: Node, answer: Node) -> Outcome:
        """As `compare`, for two scalars with nothing to strip, or two relations that algebra alone can compare."""
        related = isinstance(gold, Relation) or isinstance(answer, Relation)
        outcome = Outcome(None, "symbolic") if related else compare_scalars(gold, answer)
        if outcome.equal is None and self._decide is not None:
            return self._decide(gold, answer)
        return outcome

    def _collections(self, gold: Node, answer: Node) -> Outcome | None:
        """Listings and sets; None where neither side's items can be set against the other's."""
        if isinstance(gold, SetOperation) or isinstance(answer, SetOperation):
            return None
        if isinstance(gold, Bracketed) or isinstance(answer, Bracketed):
            brackets, other = (gold, answer) if isinstance(gold, Bracketed) else (answer, gold)
            assert isinstance(brackets, Bracketed)
            if isinstance(other, FiniteSet) and len(other.items) == 1 and isinstance(other.items[0], Bracketed):
                # The one point of a set of solutions.
                return self.compare(*((gold, other.items[0]) if gold is brackets else (other.items[0], answer)))
            closed_pair = "[" in brackets.left + brackets.right or "]" in brackets.right
            if not isinstance(other, Listing) or (closed_pair and len(brackets.items) == 2):
                return _DIFFERENT_SHAPES
            coordinates = coordinates_of(other)
            if coordinates is None:
                return _DIFFERENT_SHAPES
            pair = (brackets.items, coordinates) if gold is brackets else (coordinates, brackets.items)
            return self.sequences(*pair, "list")
        if isinstance(gold, Relation) or isinstance(answer, Relation):
            if not (isinstance(gold, Listing) or isinstance(answer, Listing)):
                return None
            if len(items_of(gold)) != len(items_of(answer)):
                return None
        if isinstance(gold, Words) or isinstance(answer, Words):
            both = [_EMPTY if node == _NOTHING else node for node in (gold, answer)]
            if _EMPTY in both:
                return Outcome(both[0] == both[1], "set")
        if isinstance(gold, Matrix | Ratio) or isinstance(answer, Matrix | Ratio):
            return _DIFFERENT_SHAPES
        return self._unordered(gold, answer)

    def _unordered(self, gold: Node, answer: Node) -> Outcome:
        golds, answers = items_of(gold), by_unit(items_of(gold), items_of(answer))
        if all(isinstance(item, Symbol) for item in golds) and _joined_otherwise(gold, answer):
            return Outcome(False, "list")  # of propositions, p and q is not p or q
        points = all(isinstance(item, Bracketed) for item in (*golds, *answers))
        as_set = points or isinstance(gold, FiniteSet) or isinstance(answer, FiniteSet)
        rule = "set" if as_set else "list"
        if must_keep_order(golds, answers) or distinct_units(golds) == distinct_units(answers) != ():
            return self.sequences(golds, answers, rule)
        if not as_set and len(golds) == 1 and len(answers) > 1:
            # "3/4 or 0.75" says one thing twice.
            return self.sequences([gold] * len(answers), answers, rule)
        if not as_set and len(golds) != len(answers):
            return Outcome(False, rule)
        return Outcome(self._same_set(golds, answers) if as_set else self._same_listing(golds, answers), rule)

    def _same_set(self, golds: Sequence[Node], answers: Sequence[Node]) -> bool | None:
        """Whether each member of either is one of the other: a set may name a member twice, in two spellings."""
        found: list[bool | None] = []
        for ours, theirs in ((golds, answers), (answers, golds)):
            for item in ours:
                equals = (self._member(item, candidate).equal for candidate in theirs)
                undecided = False
                member: bool | None = False
                for equal in equals:
                    undecided = undecided or equal is None
                    if equal:
                        member = True
                        break
                if not member and not undecided:
                    return False
                found.append(member or None)
        return None if None in found else True

    def _same_listing(self, golds: Sequence[Node], answers: Sequence[Node]) -> bool | None:
        """Whether the items of one are those of the other, in any order."""
        unproved = False
        waiting = list(answers)
        for item in golds:
            equals = [(self.compare(item, candidate).equal, at) for at, candidate in enumerate(waiting)]
            places = [at for equal, at in equals if equal] or [at for equal, at in equals if equal is None]
            if not places:
                # What was taken before without proof may belong here.
                return None if unproved else False
            unproved = unproved or not any(equal for equal, _ in equals)
            waiting.pop(places[0])
        return None if unproved else not waiting

    def _member(self, gold: Node, answer: Node) -> Outcome:
        """Two members of sets: a set of one thing is not that thing."""
        if isinstance(gold, FiniteSet) != isinstance(answer, FiniteSet):
            return _DIFFERENT_SHAPES
        return self.compare(gold, answer)

    def sequences(self, golds: Sequence[Node], answers: Sequence[Node], rule: str) -> Outcome:
        """Items in the same order."""
        if len(golds) != len(answers):
            return Outcome(False, rule)
        undecided = False
        for gold, answer in zip(golds, answers, strict=True):
            equal = self.compare(gold, answer).equal
            if equal is False:
                return Outcome(False, rule)
            undecided = undecided or equal is None
        return Outcome(None if undecided else True, rule)

    def _shapes(self, gold: Node, answer: Node) -> Outcome:
        if is_interval_set(gold) or is_interval_set(answer):
            return compare_intervals(gold, answer, self.sequences)
        if isinstance(gold, Bracketed) and isinstance(answer, Bracketed):
            rule = "interval or point" if len(gold.items) == 2 else "tuple"
            same = (gold.left, gold.right) == (answer.left, answer.right)
            if not same and (len(gold.items) == 2 and "<" not in (gold.left, answer.left)):
                return Outcome(False, rule)
            return self.sequences(gold.items, answer.items, rule)
        if isinstance(gold, Matrix) and isinstance(answer, Matrix):
            if len(gold.rows) != len(answer.rows):
                return Outcome(False, "matrix")
            flat = [[cell for row in matrix.rows for cell in row] for matrix in (gold, answer)]
            return self.sequences(flat[0], flat[1], "matrix")
        golds, answers = vector_items(gold) or unit_vectors(gold), vector_items(answer) or unit_vectors(answer)
        if golds is not None and answers is not None:
            return self.sequences(golds, answers, "vector")
        if isinstance(gold, Ratio) or isinstance(answer, Ratio):
            return compare_ratios(gold, answer, self.sequences, self.scalars)
        if isinstance(gold, BasedNumber) or isinstance(answer, BasedNumber):
            return _based(gold, answer)
        if isinstance(gold, Words) or isinstance(answer, Words):
            return _words(gold, answer)
        return _DIFFERENT_SHAPES


def _joined_otherwise(gold: Node, answer: Node) -> bool:
    if not isinstance(gold, Listing) or not isinstance(answer, Listing):
        return False
    return gold.alternatives != answer.alternatives and gold.together != answer.together


def _names_another_choice(gold: Node, answer: Node) -> bool:
    """Whether `B = A` answers a choice: it names two."""
    if not isinstance(gold, Symbol) or not isinstance(answer, Relation):
        return False
    return all(isinstance(side, Symbol) and side.name.isupper() for side in (gold, *answer.sides))


def _based(gold: Node, answer: Node) -> Outcome:
    if isinstance(gold, BasedNumber) and isinstance(answer, BasedNumber):
        return Outcome(gold == answer, "base")
    based, other = (gold, answer) if isinstance(gold, BasedNumber) else (answer, gold)
    assert isinstance(based, BasedNumber)
    # The question says which base: digits without a subscript are the same digits.
    if not isinstance(other, Number) or other.decimals is not None or _digits_of(based) != other.value:
        return Outcome(False, "base")
    # A base in the answer says what its digits are worth, where the reference has none.
    return Outcome(based is gold or int(based.digits, based.base) == other.value, "base")


def _digits_of(based: BasedNumber) -> int | None:
    """The number with the same digits in base ten; None where there is none."""
    return int(based.digits) if based.digits.removeprefix("-").isdigit() else None


def _words(gold: Node, answer: Node) -> Outcome:
    texts = [_spelling(node) for node in (gold, answer)]
    return Outcome(texts[0] is not None and texts[0] == texts[1], "words")


def _spelling(node: Node) -> str | None:
    if isinstance(node, Words):
        return node.text
    return node.name.lower() if isinstance(node, Symbol) else None
