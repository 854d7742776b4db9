"""How much multiplying out the grading of one answer may do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from areal_mesh.grading import limits
from areal_mesh.grading.trees.rationals import Inexact


@dataclass(slots=True)
class _Allowance:
    left: int


_ALLOWANCE: ContextVar[_Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def allowance() -> Iterator[None]:
    """Within it, all normal forms together may take so many products of terms and no more.

    Counted for a whole answer, because a set or a listing asks for forms once for every pair of its members.
    """
    token = _ALLOWANCE.set(_Allowance(limits.EXPANSION_WORK))
    try:
        yield
    finally:
        _ALLOWANCE.reset(token)


def spend(products: int) -> None:
    """Take some of the allowance; outside one there is no bound.

    Raises:
        Inexact: if nothing is left of it.
    """
    current = _ALLOWANCE.get()
    if current is None:
        return
    current.left -= products
    if current.left < 0:
        raise Inexact("more work than the bound")
