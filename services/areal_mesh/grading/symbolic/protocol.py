"""The symbolic step of Qwen's protocol: `a.equals(b)`, or `simplify(a - b)` is nought, or the values are close."""

from __future__ import annotations

from math import isclose
from typing import Final

import sympy
from sympy import Expr

from areal_mesh.grading.equality.scalars import Outcome
from areal_mesh.grading.symbolic.expressions import Builder
from areal_mesh.grading.symbolic.functions import NO_VALUE
from areal_mesh.grading.trees.nodes import Node

_TOLERANCE: Final = 1e-4


class _PlainBuilder(Builder):
    """Builds as the protocol reads: letters stand for anything, and a name before a bracket is a function."""

    def symbol(self, name: str) -> sympy.Symbol:
        return sympy.Symbol(name)

    def call(self, name: str, arguments: tuple[Expr, ...]) -> Expr:
        if name.startswith("apply "):
            return sympy.Function(name.removeprefix("apply "))(*arguments)
        return super().call(name, arguments)


def decide_by_protocol(gold: Node, answer: Node) -> Outcome:
    """Whether the protocol finds two expressions equal."""
    try:
        first, second = (_PlainBuilder().build(node) for node in (answer, gold))
    except NO_VALUE:
        return Outcome(False, "symbolic")
    return Outcome(_equals(first, second) or _is_close(first, second), "symbolic")


def _equals(first: Expr, second: Expr) -> bool:
    try:
        return bool(first == second or first.equals(second) or sympy.simplify(first - second) == 0)
    except NO_VALUE:
        return False


def _is_close(first: Expr, second: Expr) -> bool:
    try:
        return isclose(float(sympy.N(second)), float(sympy.N(first)), rel_tol=_TOLERANCE)
    except NO_VALUE:
        return False
