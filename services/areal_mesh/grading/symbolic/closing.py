"""Sums, products, integrals, limits and derivatives as the scalars that they are worth, by SymPy.

What it finds goes back into our own tree, so that it is compared like anything else. An operator that it does not work
out stands for an unknown value of its bounds and its body, whatever the letter is called that it binds.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import sympy
from sympy import Expr, Float, Integer

from areal_mesh.grading import limits
from areal_mesh.grading.equality.integers import WHOLE_NAMES
from areal_mesh.grading.symbolic.expressions import Builder
from areal_mesh.grading.symbolic.functions import NO_VALUE, Unbounded, Undefined
from areal_mesh.grading.symbolic.trees import tree_of
from areal_mesh.grading.trees.nodes import (
    Bound,
    Call,
    Constant,
    Node,
    Number,
    Product,
    Sum,
    Symbol,
    has_operators,
    symbols,
    with_children,
)
from areal_mesh.grading.trees.rationals import bounded, rational
from areal_mesh.grading.trees.rewriting import replaced, with_letter
from areal_mesh.grading.trees.shapes import count_nodes

_TERMS: Final = 1_000
"""Of a sum or product that is written out."""
_DIGITS: Final = 12
"""To which an integral has to agree with its values between the bounds."""
_SAMPLES: Final = (Fraction(7, 10), Fraction(13, 10), Fraction(19, 10), Fraction(3, 10))
_DEPENDENT: Final = frozenset("yzuvw")
_DIRECTIONS: Final = {"lim": "+-", "lim+": "+", "lim-": "-"}
_INFINITIES: Final = {Constant("infinity"): sympy.oo, Product((Number(Fraction(-1)), Constant("infinity"))): -sympy.oo}


def closed(node: Node) -> Node:
    """A scalar with what its operators are worth in their place."""
    if not isinstance(node, Bound):
        return with_children(node, closed) if has_operators(node) else node
    node = Bound(node.operator, node.letter, tuple(map(closed, node.bounds)), closed(node.body))
    if _hides_its_letter(node):
        return _unknown(node)
    try:
        found = _written_out(node) if node.operator in ("sum", "prod") else None
        return found if found is not None else tree_of(_worked_out(node))
    except NO_VALUE:
        return node if _is_up_to_an_integer(node) else _unknown(node)


def _is_up_to_an_integer(node: Bound) -> bool:
    """Whether a sum or product can be added up wherever the letters in its bounds are integers."""
    letters = frozenset().union(*map(symbols, node.bounds))
    return node.operator in ("sum", "prod") and bool(letters) and letters <= WHOLE_NAMES


def _hides_its_letter(node: Bound) -> bool:
    r"""Whether other letters depend on the one that is bound: `a_k` in a sum over k, `y` in `\frac{d}{dx}`."""
    if node.operator == "derivative":
        return bool(symbols(node.body) & _DEPENDENT - {node.letter})
    return any(node.letter in name.partition("_")[2] for name in symbols(node.body))


def _unknown(node: Bound) -> Node:
    for name in symbols(node.body):
        base, _, index = name.partition("_")
        if node.letter in index:
            body = replaced(node.body, name, Symbol(f"{base}_{index.replace(node.letter, 'bound')}"))
            node = Bound(node.operator, node.letter, node.bounds, body)
    renamed = node if node.operator == "derivative" else with_letter(node, "bound")
    return Call(f"unknown {node.operator}", (*map(_plain, renamed.bounds), renamed.body))


def _plain(node: Node) -> Node:
    """A bound that may be infinite, as a name."""
    return Symbol("infinity") if node == Constant("infinity") else with_children(node, _plain)


def _written_out(node: Bound) -> Node | None:
    """A sum or product of a few terms, added up; None where its bounds are no integers near each other."""
    first, last = map(rational, node.bounds)
    if first is None or last is None or first.denominator != 1 or last.denominator != 1:
        return None
    if last - first >= _TERMS:
        return None
    terms: list[Node] = []
    total = Fraction(node.operator == "prod")
    for at in range(int(first), int(last) + 1):
        term = replaced(node.body, node.letter, Number(Fraction(at)))
        value = None if terms else rational(term)
        if value is None:
            terms.append(term)
            if len(terms) * count_nodes(node.body) > limits.NODES:
                raise Unbounded("more terms than are written out")
        else:
            total = bounded(total + value if node.operator == "sum" else total * value)
    parts = (Number(total), *terms)
    return parts[0] if not terms else Sum(parts) if node.operator == "sum" else Product(parts)


def _worked_out(node: Bound) -> Expr:
    whole = {node.letter} if node.operator in ("sum", "prod") else ()
    builder = Builder(whole | symbols(node.bounds[-1]) if whole else (), positive=node.operator in ("sum", "prod"))
    letter, body = builder.symbol(node.letter), builder.build(node.body)
    if node.operator == "derivative":
        return sympy.diff(body, letter, int(rational(node.bounds[0]) or 1))
    if whole and node.bounds[-1] in _INFINITIES and len(body.free_symbols) > 1:
        raise Unbounded("an infinite sum with letters: it converges for some of them")
    bounds = [_INFINITIES[bound] if bound in _INFINITIES else builder.build(bound) for bound in node.bounds]
    if node.operator == "sum":
        return sympy.summation(body, (letter, *bounds))
    if node.operator == "prod":
        return sympy.product(body, (letter, *bounds))
    if node.operator == "int":
        return _integrated(body, letter, bounds)
    if bounds[0].is_infinite:
        return sympy.limit(body, letter, bounds[0])
    return sympy.limit(body, letter, bounds[0], _DIRECTIONS[node.operator])


def _integrated(body: Expr, letter: sympy.Symbol, bounds: list[Expr]) -> Expr:
    """A definite integral, checked by its values between the bounds: an antiderivative may jump there."""
    integral = sympy.Integral(body, (letter, *bounds))
    found = integral.doit()
    if found.has(sympy.Integral):
        raise Undefined("no antiderivative")
    given = dict(zip(sorted(integral.free_symbols, key=str), map(sympy.Rational, _SAMPLES), strict=False))
    if len(given) < len(integral.free_symbols):
        raise Unbounded("more letters than are checked")
    value, expected = found.subs(given).evalf(_DIGITS), integral.subs(given).evalf(_DIGITS)
    if not (isinstance(expected, Float | Integer) and abs(value - expected) <= 1e-6 * (1 + abs(expected))):
        raise Undefined("an integral that its values do not bear out")
    return found
